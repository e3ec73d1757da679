"""One program a contender, each run by the Python of that contender's environment; `worker` is what they share.

These modules import nothing of this project but each other and `worker`.
"""
