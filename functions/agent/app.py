"""The agent as a Lambda function. The service around it is the layer's."""

from openai_agents_session.service import AgentService

# The agent is given by its name: its module imports the SDK, for which a request for the history need not wait.
service = AgentService("agent:build_agent", without_effects={"calculate"})
handler = service.handler
