"""The same turn on a client that lives as long as the environment, and on one made for each invocation.

Both answer with what the process has done so far: connections opened, service models loaded.
"""

import asyncio
import functools
import time
from collections import Counter

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.testing import assistant_message
from aiobotocore.session import get_session
from aiohttp.connector import TCPConnector
from botocore.loaders import Loader

from openai_agents_session import DynamoDBSession
from openai_agents_session.environment import EnvironmentSettings, open_session, run

set_tracing_disabled(True)

done: Counter[str] = Counter()


def counted(owner, method, name):
    """Count the calls of a method."""
    original = getattr(owner, method)

    @functools.wraps(original)
    def counting(*args, **options):
        done[name] += 1
        return original(*args, **options)

    setattr(owner, method, counting)


counted(TCPConnector, "_create_connection", "connections")
counted(Loader, "load_data_with_path", "models")


class Instant(Model):
    """A model that takes no time."""

    async def get_response(self, *rest, **options):
        """Answer."""
        return ModelResponse([assistant_message("Yes.")], Usage(), None)

    def stream_response(self, *rest, **options):
        """Not used."""
        raise NotImplementedError


agent = Agent(name="Assistant", model=Instant())


async def take_turn(session, event):
    """One turn of the conversation."""
    await Runner.run(agent, event["message"], session=session)


def kept(event, context):
    """As the library does it."""

    async def turn():
        await take_turn(await open_session(event["session_id"]), event)

    return timed(lambda: run(turn()))


def per_invocation(event, context):
    """As samples do it: a loop and a client an invocation."""

    async def turn():
        settings = EnvironmentSettings.from_environ()
        making = get_session().create_client(
            "dynamodb", region_name=settings.region_name, endpoint_url=settings.endpoint_url
        )
        async with making as client:
            await take_turn(DynamoDBSession(event["session_id"], client, settings.table_name), event)

    return timed(lambda: asyncio.run(turn()))


def timed(work):
    """What the work took, in milliseconds, and what the process has done so far."""
    began = time.perf_counter()
    work()
    return {"ms": (time.perf_counter() - began) * 1000, **done}
