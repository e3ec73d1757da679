"""Conversation sessions for openai-agents on DynamoDB."""
