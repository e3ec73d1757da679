"""The shipped function whose tool counts as one with effects, so that its calls are stored before it runs."""

from openai_agents_session.service import AgentService

service = AgentService("agent:build_agent")
handler = service.handler
