"""Conversations through the function: listed, paged, named, edited, forked, rewound, stopped, and what they used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiobotocore.session import get_session

from openai_agents_session import DynamoDBSession
from openai_agents_session.service.identity import stored_id
from tests.support.agent import Stage, agent_stage, body, calling, event
from tests.support.page import assistant, talk, user
from tools.emulation.model import FakeModel
from tools.emulation.rie import Emulator

OWNER = "ada@example.com"


@pytest.fixture(scope="module")
def environment(stage: Stage) -> Iterator[Emulator]:
    with stage.environment() as running:
        yield running


class Caller:
    """Somebody with a session."""

    def __init__(self, environment: Emulator, session_id: str) -> None:
        self.environment, self.session_id = environment, session_id

    def __call__(self, **request: Any) -> dict[str, Any]:
        asked = {"session_id": self.session_id, "owner": OWNER, **request}
        return body(self.environment.invoke(asked).answer)

    def roles(self) -> list[str]:
        return [item.get("role", item.get("type")) for item in self(action="history")["items"]]


@pytest.fixture
def ada(environment: Emulator, request: pytest.FixtureRequest) -> Caller:
    return Caller(environment, f"{request.node.name[:60]}")


def seed(stage: Stage, session_id: str, items: list[Any]) -> None:
    """Store items in a session of the owner's, as the service names it."""
    store_plainly(stage, stored_id(session_id, OWNER), items)


def store_plainly(stage: Stage, key: str, items: list[Any]) -> None:
    """Store items in a session of the owner's, under an id as it is."""

    async def store() -> None:
        options: dict[str, Any] = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        options |= {"region_name": "us-east-1", "endpoint_url": stage.endpoint_url}
        async with get_session().create_client("dynamodb", **options) as client:
            await DynamoDBSession(key, client, stage.variables["SESSION_TABLE"], owner=OWNER).add_items(items)

    asyncio.run(store())


SAMPLES = {
    "": ("update", "fork", "regenerate", "edit", "stop", "rewind"),
    "http_": ("http_update", "http_fork", "http_regenerate", "http_edit", "http_stop", "http_rewind"),
}


def test_every_route_serves_its_sample_event(environment: Emulator) -> None:
    """The sample events of both shapes do what the documentation says of them."""

    def answer(name: str, **changes: Any) -> dict[str, Any]:
        return body(environment.invoke(event(name, **changes)).answer)

    for shape, owner in (("", {"owner": OWNER}), ("http_", {})):
        first = environment.invoke(event("first_turn", **owner)).answer if owner else answer("http_message")
        assert body(first)["usage"]["turn"]["requests"] == 1
        if not owner:  # the sample event of a message has another caller than the others
            answer("http_refund", body=json.dumps({"message": "Hello, my name is Ada."}))
        update, fork, regenerate, edit, stop, rewind = SAMPLES[shape]
        assert answer(update, **owner)["title"] == "Who I am"
        if owner:
            assert [one["title"] for one in answer("list")["sessions"]] == ["Who I am"]
        else:
            assert answer("http_list")["sessions"] == []  # no title has the word
        assert answer(fork, **owner)["total"] == 2
        assert answer(regenerate, **owner)["answer"].startswith("Nice to meet you, Ada.")
        assert answer(edit, **owner)["answer"].startswith("Nice to meet you, Grace.")
        assert answer(stop, **owner)["stopped"] is False
        assert answer(rewind, **owner)["removed"] == 0


def test_the_list_is_paged_and_searched(environment: Emulator) -> None:
    """Pages together are the whole list, newest activity first; a search finds words of titles."""
    for number in range(5):
        environment.invoke({"session_id": f"n{number}", "owner": "lister", "message": f"Topic {number}"})
    found: list[str] = []
    cursor = None
    while True:
        page = environment.invoke({"action": "list", "owner": "lister", "limit": 2, "cursor": cursor}).answer
        found += [one["session_id"] for one in page["sessions"]]
        if (cursor := page["cursor"]) is None:
            break
    assert found == ["n4", "n3", "n2", "n1", "n0"]
    page = environment.invoke({"action": "list", "owner": "lister", "search": "topic 3"}).answer
    assert [one["title"] for one in page["sessions"]] == ["Topic 3"]
    assert environment.invoke({"action": "list", "owner": "lister", "cursor": "nonsense"}).answer["status"] == 400


def test_without_an_index_or_an_owner_there_is_no_list_and_a_reason(environment: Emulator) -> None:
    """Callers without an owner are told that nobody's conversations are not listed."""
    answer = environment.invoke({"action": "list"}).answer
    assert (answer["status"], answer["code"]) == (409, "no_list")


def test_a_history_is_read_backwards_in_pages_that_join(ada: Caller, stage: Stage) -> None:
    """Pages have no gap and no overlap, whatever their length."""
    items = talk(130)
    seed(stage, ada.session_id, items)
    for limit in (1, 7, 100, 250, 1000):
        pages: list[Any] = []
        before = None
        while True:
            page = ada(action="history", limit=limit, before=before)
            assert page["total"] == 260
            pages = page["items"] + pages
            if (before := page["before"]) is None:
                break
            if limit == 1 and page["first"] < 255:
                break
        assert pages == items[-len(pages) :]
        assert limit == 1 or len(pages) == 260


def test_an_item_of_5_megabytes_hides_nothing_and_every_page_fits(ada: Caller, stage: Stage) -> None:
    """A quote-heavy item is cut among others and hides none of them; every answer stays within Lambda's 6 MB."""
    items = [*talk(3), user("Read it."), assistant('He said "yes". ' * 350_000), *talk(3)]
    seed(stage, ada.session_id, items)
    page = ada(action="history")
    assert page["first"] == 0
    assert page["cut"] == [7]
    assert [item["role"] for item in page["items"]] == [item["role"] for item in items]
    request = event("http_history", queryStringParameters={"limit": "1", "before": "8"})
    request["requestContext"]["authorizer"] = {"jwt": {"claims": {"iss": "x", "sub": "y"}}}
    alone = ada.environment.invoke(
        {"session_id": ada.session_id, "owner": OWNER, "action": "history", "limit": 1, "before": 8}
    )
    assert len(json.dumps(json.dumps(alone.answer))) < 6_291_556


def test_quotes_and_emoji_do_not_burst_a_page(ada: Caller, stage: Stage) -> None:
    """A history whose escaped form is many times its text is paged so that each answer is delivered."""
    items = [user('"' * 300_000) if number % 2 else assistant("👩" * 100_000) for number in range(24)]
    seed(stage, ada.session_id, items)
    got: list[Any] = []
    before: int | None = None
    while True:
        answer = ada.environment.invoke(
            {"session_id": ada.session_id, "owner": OWNER, "action": "history", "before": before}
        ).answer
        assert len(json.dumps(json.dumps(answer, ensure_ascii=False))) < 6_291_556
        assert answer["items"]
        got = answer["items"] + got
        if (before := answer["before"]) is None:
            break
    assert len(got) == 24


def test_an_edit_happens_once_however_often_it_is_delivered(ada: Caller) -> None:
    """The same key brings the same answer, and does not edit what was said since."""
    ada(message="My name is Ada.")
    ada(message="What is my name?")
    edit = {"action": "edit", "position": 0, "message": "My name is Grace.", "idempotency_key": "e1"}
    first = ada(**edit)
    assert first["answer"].startswith("Nice to meet you, Grace.")
    assert ada.roles() == ["user", "assistant"]
    ada(message="What is my name?")
    again = ada(**edit)
    assert (again["answer"], again["usage"]["turn"]) == (first["answer"], first["usage"]["turn"])
    assert len(ada.roles()) == 4
    assert ada(**edit | {"position": 2})["status"] == 422


@pytest.mark.parametrize("action", ["edit", "regenerate"])
def test_what_takes_an_answers_place_meets_what_was_done_before(ada: Caller, action: str) -> None:
    """Delivered again after a clear or a rewind it is told so, not that its place is wrong; nothing is done again."""
    ada(message="My name is Ada.")
    asked: dict[str, Any] = {"action": action, "idempotency_key": f"{action}-1"}
    asked |= {"position": 0, "message": "My name is Grace."} if action == "edit" else {}
    assert "answer" in ada(**asked)
    ada(action="rewind", keep=0)
    assert ada(**asked)["status"] == 410
    ada(action="clear")
    assert ada(**asked)["status"] == 410
    assert ada.roles() == []


def test_nobody_reaches_an_owners_session(ada: Caller, stage: Stage) -> None:
    """Not even under the id that it is stored under, when it was stored by other means than the service."""
    seed(stage, ada.session_id, talk(1))
    nobody = {"session_id": stored_id(ada.session_id, OWNER)}
    assert body(ada.environment.invoke(nobody | {"action": "history"}).answer)["status"] == 400
    store_plainly(stage, f"{ada.session_id}-plain", talk(1))
    for request in ({"action": "history"}, {"message": "Hello"}, {"action": "rewind", "keep": 0}, {"action": "fork"}):
        answer = body(ada.environment.invoke({"session_id": f"{ada.session_id}-plain"} | request).answer)
        assert answer["status"] == 404, request


def test_only_a_users_message_is_edited(ada: Caller) -> None:
    """A position of anything else is refused, and nothing changes."""
    ada(message="My name is Ada.")
    for position in (1, 2, 99):
        assert ada(action="edit", position=position, message="x")["status"] == 400
    assert ada.roles() == ["user", "assistant"]


def test_an_answer_is_given_again_in_place_of_the_old_one(ada: Caller) -> None:
    """Regenerate keeps the question, and removes its tools and answer."""
    ada(message="What is 6 * 7?")
    assert ada.roles() == ["user", "function_call", "function_call_output", "assistant"]
    assert ada(action="regenerate")["answer"].startswith("That makes 42")
    assert ada.roles() == ["user", "function_call", "function_call_output", "assistant"]
    nobody = Caller(ada.environment, f"{ada.session_id}-empty")
    assert nobody(action="regenerate")["status"] == 409


def test_a_fork_and_a_rewind_leave_what_they_should(ada: Caller) -> None:
    """The copy has the first items, the original loses the last ones; a cut through a step is refused."""
    ada(message="My name is Ada.")
    ada(message="What is 6 * 7?")
    copy_id = f"{ada.session_id}-copy"
    copy = ada(action="fork", keep=2, copy_id=copy_id, title="The copy")
    assert (copy["session_id"], copy["title"], copy["total"]) == (copy_id, "The copy", 2)
    assert ada(action="fork", copy_id=copy_id)["code"] == "exists"
    assert ada(action="rewind", keep=4)["status"] == 400
    assert ada(action="rewind", keep=2)["removed"] == 4
    assert Caller(ada.environment, copy_id)(message="What is my name?")["answer"].startswith("Your name is Ada.")
    assert ada(message="How many?")["answer"].startswith("This is message 2")


def test_usage_is_told_and_summed_and_a_resumed_run_counts_once(ada: Caller) -> None:
    """The session's sum is that of its model calls, also where a run waited for a decision in between."""
    first = ada(message="My name is Ada.")["usage"]
    assert first["turn"] == first["session"]
    waits = ada(message="Please refund 25 euros for order A-17.")
    assert waits["usage"]["session"]["requests"] == 2
    done = ada(action="approve", run_id=waits["pending"]["run_id"])
    assert done["usage"]["turn"]["requests"] == 2  # the turn asked the model twice
    assert done["usage"]["session"]["requests"] == 3
    parts = (first["turn"], done["usage"]["turn"])
    assert done["usage"]["session"]["total_tokens"] == sum(part["total_tokens"] for part in parts)
    assert ada(action="history")["usage"] == done["usage"]["session"]


def test_metrics_count_the_tokens_of_a_resumed_run_once(ada: Caller, stage: Stage) -> None:
    """InputTokens of all invocations together are what the session says."""
    with stage.environment() as environment:
        caller = Caller(environment, ada.session_id)
        waits = caller(message="Please refund 25 euros for order A-17.")
        used = caller(action="approve", run_id=waits["pending"]["run_id"])["usage"]["session"]
        lines = [json.loads(line) for line in environment.log.splitlines() if line.startswith('{"_aws"')]
    assert sum(sum(line.get("InputTokens", [0])) for line in lines) == used["input_tokens"]
    assert sum(sum(line.get("OutputTokens", [0])) for line in lines) == used["output_tokens"]


def test_a_turn_that_is_stopped_stores_nothing_more(stage: Stage, server: FakeModel) -> None:
    """Stop, from another environment, frees the conversation at once, and the stopped turn's answer is not stored."""
    server.reset()
    model = {"MODEL_PROVIDER": "compatible", "MODEL_NAME": "small", "MODEL_BASE_URL": server.base_url}
    with stage.environment(**model) as one, stage.environment(**model) as other:
        ada, elsewhere = Caller(one, "stopped"), Caller(other, "stopped")
        elsewhere(action="history")
        server.delay_seconds = 3
        with calling(one, {"session_id": "stopped", "owner": OWNER, "message": "Hello"}) as future:
            server.wait_for(1)
            assert elsewhere(action="history")["state"] == "running"
            assert elsewhere(action="stop")["stopped"] is True
            server.delay_seconds = 0
            assert elsewhere(action="history")["state"] == "unfinished"
            assert body(future.result())["status"] == 409
        assert ada.roles() == ["user"]
        assert ada(action="continue")["answer"] == "You said: Hello"
        assert ada.roles() == ["user", "assistant"]


def test_a_table_without_the_index_serves_all_but_the_list() -> None:
    """The list says how to add the index; everything else works."""
    with agent_stage(with_index=False) as stage, stage.environment() as environment:
        ada = Caller(environment, "ada")
        assert ada(message="My name is Ada.")["status"] == 200
        answer = ada(action="list")
        assert (answer["status"], answer["code"]) == (409, "no_list")
        assert "owner-active-index" in answer["error"]
        assert ada(action="fork")["total"] == 2
        assert ada(action="update", title="Me")["title"] == "Me"
