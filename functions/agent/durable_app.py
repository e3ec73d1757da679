"""The agent as a durable function, for turns that outlive their invocation."""

from app import service

handler = service.durable_handler()
