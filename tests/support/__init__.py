"""Reusable test parts: DynamoDB engines, a fault proxy in front of them, and a meter of what requests cost."""
