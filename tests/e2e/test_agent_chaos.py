"""Two hundred conversations at once, in four execution environments, on a store that fails: every history is whole."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.support.agent import stage_on
from tools.emulation import engines, faults
from tools.emulation.faults import Fault
from tools.emulation.proxy import FaultProxy
from tools.emulation.rie import Emulator

CONVERSATIONS = 200
ENVIRONMENTS = 4
SEED = 20_261_125
FAULTS: dict[Fault, float] = {
    faults.drop_request: 0.01,
    faults.drop_response: 0.02,
    faults.throttled: 0.02,
    faults.internal_error: 0.01,
    faults.transaction_conflict: 0.005,
    faults.delay(0.05): 0.02,
}
DELIVERED_AGAIN = 0.1
COME_AGAIN = {409, 503, 504}
IMPATIENT_SECONDS = 0.3


@dataclass
class Conversation:
    """One of many, its turns taken in order, each in whatever environment is free."""

    number: int
    answers: list[str] = field(default_factory=list)

    @property
    def messages(self) -> tuple[str, ...]:
        return f"My name is N{self.number}.", f"What is {self.number} * 3?", "What is my name?"

    def request(self, turn: int) -> dict[str, str]:
        session_id, key = f"conversation-{self.number}", f"turn-{turn}"
        return {"session_id": session_id, "message": self.messages[turn], "idempotency_key": key}

    @property
    def done(self) -> bool:
        return len(self.answers) == len(self.messages)


class Crowd:
    """Takes the turns of all conversations, interleaved at random."""

    def __init__(self, conversations: list[Conversation], chance: random.Random) -> None:
        self.statuses: Counter[int] = Counter()
        self.waiting = conversations
        self.unfinished = len(conversations)
        self._chance = chance

    async def work(self, environment: Emulator) -> None:
        """Take turns in an environment until all are taken."""
        while self.unfinished:
            if not self.waiting:
                await asyncio.sleep(0.01)
                continue
            conversation = self.waiting.pop(self._chance.randrange(len(self.waiting)))
            served = await self._take_turn(environment, conversation)
            if conversation.done:
                self.unfinished -= 1
            elif served:
                self.waiting.append(conversation)
            else:
                asyncio.get_running_loop().call_later(IMPATIENT_SECONDS, self.waiting.append, conversation)

    async def _take_turn(self, environment: Emulator, conversation: Conversation) -> bool:
        request = conversation.request(len(conversation.answers))
        answer = await self._send(environment, request)
        if answer["status"] != 200:
            assert answer["status"] in COME_AGAIN, answer
            return False
        conversation.answers.append(answer["answer"])
        if self._chance.random() < DELIVERED_AGAIN:
            again = await self._send(environment, request)
            assert again["status"] in COME_AGAIN or again == answer
        return True

    async def _send(self, environment: Emulator, request: Any) -> Any:
        answer = (await asyncio.to_thread(environment.invoke, request)).answer
        self.statuses[answer["status"]] += 1
        return answer


def assert_whole(conversation: Conversation, items: Sequence[Any]) -> None:
    """The history is the conversation: everything once, in order, and each answer what its caller was told."""
    shape = [item.get("type", item.get("role")) for item in items]
    assert shape == ["user", "message", "user", "function_call", "function_call_output", "message", "user", "message"]
    assert [item["content"] for item in items if item.get("role") == "user"] == list(conversation.messages)
    said = [item["content"][0]["text"] for item in items if item.get("role") == "assistant"]
    assert said == conversation.answers
    assert items[3]["call_id"] == items[4]["call_id"]
    assert items[4]["output"] == str(conversation.number * 3)
    assert f"Your name is N{conversation.number}." in said[-1]


async def test_two_hundred_conversations_on_a_failing_store_all_verify() -> None:
    chance = random.Random(SEED)
    conversations = [Conversation(number) for number in range(1, CONVERSATIONS + 1)]
    quickest = "moto" if engines.available()["dynoxide"] else "dynoxide"
    with engines.start(quickest) as engine, ExitStack() as running:
        direct = stage_on(engine.endpoint_url)
        async with FaultProxy(engine.endpoint_url, metered=False, keep_records=False) as proxy:
            variables = {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url, "LOG_LEVEL": "ERROR"}
            environments = [
                running.enter_context(direct.environment(timeout_seconds=12, **variables)) for _ in range(ENVIRONMENTS)
            ]
            for number, environment in enumerate(environments):
                warm = {"session_id": f"warm-{number}", "message": "up", "idempotency_key": "warm"}
                await asyncio.to_thread(environment.invoke, warm)
            for fault, share in FAULTS.items():
                proxy.on(lambda _, share=share: chance.random() < share, fault, times=1_000_000)
            crowd, began = Crowd(list(conversations), chance), time.monotonic()
            await asyncio.gather(*(crowd.work(environment) for environment in environments))
            seconds = time.monotonic() - began
            proxy.reset()
            for conversation in conversations:
                request = {"session_id": f"conversation-{conversation.number}", "action": "history"}
                history = await asyncio.to_thread(environments[0].invoke, request)
                assert_whole(conversation, history.answer["items"])
    print(f"answers by status: {dict(crowd.statuses)}; {seconds:.1f} s")
    assert crowd.statuses[200] >= 3 * CONVERSATIONS
