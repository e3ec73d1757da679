"""A help desk of two agents as a Lambda function, on the layer of another stack."""

from openai_agents_session.service import AgentService

service = AgentService("desk:build_desk", without_effects={"find_article"})
handler = service.handler
