from agents import Agent, function_tool

from offline import OfflineModel
from openai_agents_session.service.models import build_model


@function_tool
def stock(article: str) -> int:
    """How many pieces of an article are in stock."""
    return {"lamp": 7}.get(article, 0)


def build_agent(settings):
    return Agent(
        name="Clerk",
        instructions="You know what is in stock.",
        tools=[stock],
        model=build_model(settings, {"offline": OfflineModel}),
    )
