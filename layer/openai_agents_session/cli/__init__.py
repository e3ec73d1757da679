"""The operator's command, ``openai-agents-session``: see, move, check, repair and delete sessions.

Needs the extra ``cli`` (typer and rich). The library itself never imports this package.
"""
