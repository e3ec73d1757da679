from agents import Agent, OpenAIChatCompletionsModel, set_tracing_disabled
from openai import AsyncOpenAI
from openai.providers import bedrock

set_tracing_disabled(
    True
)  # traces would go to OpenAI, for which there is no key


def build_agent(region, model="openai.gpt-oss-120b-1:0", **options):
    """An agent whose model is on Bedrock; the function's role signs.

    Args:
        region: Of Bedrock, such as "us-west-2".
        model: Its id there.
        **options: Of the client, such as `max_retries`.
    """
    client = AsyncOpenAI(
        provider=bedrock(endpoint="runtime", region=region), **options
    )
    return Agent(
        name="Assistant",
        instructions="You are a concise, friendly assistant.",
        model=OpenAIChatCompletionsModel(model=model, openai_client=client),
    )
