"""The streaming function as the Lambda Web Adapter starts it: its own start script, the built layer, real HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Stage, agent_stage, until
from tests.support.events import Client, path_of, said
from tools.emulation.durable import DurableLambda
from tools.emulation.model import calls, says, tool_then_answer
from tools.emulation.rie import Emulator
from tools.emulation.streaming_model import StreamingModel
from tools.page import free_port, serving

ROOT = Path(__file__).parents[2]

REFUND = {"order": "A-1", "amount": 19.9}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with agent_stage() as running:
        yield running


@contextmanager
def server(stage: Stage, log: Path, model: StreamingModel, **variables: str) -> Iterator[Client]:
    said = {"MODEL_PROVIDER": "compatible", "MODEL_NAME": "small", "MODEL_BASE_URL": model.base_url}
    with serving(stage.variables | said | {"LEASE_WAIT_SECONDS": "0.3"} | variables, log) as url:
        yield Client(url, {})


@pytest.fixture(scope="module")
def shared_model() -> Iterator[StreamingModel]:
    with StreamingModel() as model:
        yield model


@pytest.fixture(scope="module")
def shared_client(
    stage: Stage, shared_model: StreamingModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    log = tmp_path_factory.mktemp("streaming") / "log"
    with server(stage, log, shared_model, SERVE_PAGE="true", HEARTBEAT_SECONDS="1") as running:
        yield running


@pytest.fixture
def model(shared_model: StreamingModel) -> Iterator[StreamingModel]:
    yield shared_model
    shared_model.let_go()
    shared_model.reply = StreamingModel().reply
    shared_model.refuse = False


@pytest.fixture
def client(shared_client: Client, model: StreamingModel) -> Client:
    return shared_client


@pytest.fixture
def session_id() -> str:
    return f"ada/{uuid.uuid4().hex} ü"


@pytest.fixture(scope="module")
def in_lambda(stage: Stage, shared_model: StreamingModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The server where the adapter's headers are believed."""
    log = tmp_path_factory.mktemp("lambda") / "log"
    variables = {"AWS_LAMBDA_FUNCTION_NAME": "streaming", "OWNER_REQUIRED": "true"}
    with server(stage, log, shared_model, **variables) as running:
        yield running


def adapter_headers(user: str, seconds: float = 60) -> dict[str, str]:
    """What the adapter adds to a request."""
    authorizer = {"iam": {"userId": user, "userArn": f"arn:aws:iam::123456789012:user/{user}"}}
    context = {"request_id": str(uuid.uuid4()), "deadline": int((time.time() + seconds) * 1000)}
    return {
        "x_amzn_request_context": json.dumps({"stage": "$default", "authorizer": authorizer}),
        "x_amzn_lambda_context": json.dumps(context),
    }


def test_words_arrive_while_the_model_is_still_speaking(client: Client, model: StreamingModel, session_id: str) -> None:
    model.reply = lambda _: says("one two three four")
    model.hold()
    with client.ask("POST", path_of(session_id), {"message": "Count."}) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        events = (event for event in answer.events() if event[0] != "heartbeat")
        assert next(events) == ("started", {})
        for word in ("one", " two"):
            model.let(1)
            assert next(events) == ("text", {"delta": word})  # the model has not said the next one
        model.let_go()
        rest = list(events)
    assert [name for name, _ in rest] == ["text", "text", "done"]
    assert rest[-1][1]["answer"] == "one two three four"


def test_what_is_asked_of_a_durable_run_is_not_streamed(
    stage: Stage, model: StreamingModel, session_id: str, tmp_path: Path
) -> None:
    """A client that asks for events gets the status and the JSON of a durable run, each time that it asks."""

    is_over = threading.Event()

    def waits() -> Emulator:
        is_over.wait(60)
        raise RuntimeError("it does not start")

    with DurableLambda(waits) as durable, server(stage, tmp_path / "log", model, **durable.variables) as client:
        message = {"message": "Hello", "durable": True}
        for _ in range(2):
            with client.ask("POST", path_of(session_id), message, idempotency_key="once") as answer:
                assert (answer.status, answer.headers["content-type"]) == (202, "application/json")
                assert answer.json()["durable"] == "started"
        with client.ask("POST", path_of(session_id), message | {"message": "Bye"}, idempotency_key="once") as answer:
            assert answer.status == 422
        assert client.get(path_of(session_id))["durable"] is True
        is_over.set()


def test_a_tool_is_seen_to_start_and_to_finish(client: Client, model: StreamingModel, session_id: str) -> None:
    model.reply = tool_then_answer("calculate", expression="6 * 7")
    events = client.send(session_id, "What is 6 * 7?")
    steps = [(name, data) for name, data in events if name.startswith("tool")]
    assert [name for name, _ in steps] == ["tool_started", "tool_finished"]
    (_, started), (_, finished) = steps
    assert started["tool"] == "calculate"
    assert json.loads(started["arguments"]) == {"expression": "6 * 7"}
    assert finished == {"call_id": started["call_id"], "output": "42"}
    assert said(events) == "It is 42."


def test_a_stream_ends_with_the_answer_as_it_is_given_unstreamed(
    client: Client, model: StreamingModel, session_id: str
) -> None:
    name, streamed = client.send(session_id, "Hello")[-1]
    with client.ask("POST", path_of(session_id), {"message": "Hello"}, accept="application/json") as answer:
        assert answer.headers["content-type"] == "application/json"
        whole = answer.json()
    # The session has used twice as much by then.
    assert (name, streamed["usage"]["turn"]) == ("done", whole["usage"]["turn"])
    assert streamed | {"usage": None} == whole | {"usage": None}
    assert [item.get("role") for item in client.history(session_id)] == ["user", "assistant"] * 2


def wait_for_refund(messages: list[dict[str, Any]]) -> dict[str, Any]:
    if messages[-1]["role"] == "tool":
        return says(f"Done: {messages[-1]['content']}")
    return calls("issue_refund", f"call_{len(messages)}", **REFUND)


@pytest.mark.parametrize(("decision", "outcome"), [("approve", "Refunded 19.90 euros"), ("reject", "not approved")])
def test_a_run_that_waits_for_approval_goes_on_in_another_stream(
    client: Client, model: StreamingModel, session_id: str, decision: str, outcome: str
) -> None:
    model.reply = wait_for_refund
    events = client.send(session_id, "Refund it.")
    assert [name for name, _ in events] == ["started", "tool_started", "approval", "done"]
    pending = events[-2][1]
    assert events[-1][1]["status"] == 202
    assert client.get(path_of(session_id, "/approvals"))["pending"] == pending

    body = {"decision": decision, "run_id": pending["run_id"]}
    with client.ask("POST", path_of(session_id, "/approvals"), body) as answer:
        resumed = list(answer.events())
    assert [name for name, _ in resumed if name != "text"] == ["started", "tool_finished", "done"]
    assert outcome in said(resumed)
    with client.ask("POST", path_of(session_id, "/approvals"), body) as answer:
        assert answer.status == 409


def test_a_second_turn_is_refused_with_its_status_before_any_stream(
    client: Client, model: StreamingModel, session_id: str
) -> None:
    model.hold()
    with client.ask("POST", path_of(session_id), {"message": "first"}) as first:
        events = first.events()
        assert next(events)[0] == "started"
        with client.ask("POST", path_of(session_id), {"message": "second"}) as second:
            assert second.status == 409
            assert int(second.headers["retry-after"]) >= 1
            assert "another turn" in second.json()["error"]
        model.let_go()
        assert list(events)[-1][0] == "done"
    assert "second" not in json.dumps(client.history(session_id))


def test_a_client_that_goes_away_loses_nothing(client: Client, model: StreamingModel, session_id: str) -> None:
    model.reply = lambda _: says("I went on without you.")
    model.hold()
    model.let(1)
    with client.ask("POST", path_of(session_id), {"message": "Hello"}) as answer:
        events = answer.events()
        while next(events)[0] != "text":
            pass
    time.sleep(0.2)  # the server notices
    model.let_go()
    assert until(20, lambda: len(client.history(session_id)) == 2)
    assert "I went on without you." in json.dumps(client.history(session_id)[-1])
    assert said(client.send(session_id, "Still there?"))  # and nothing holds the session


def test_silence_is_filled_with_heartbeats(client: Client, model: StreamingModel, session_id: str) -> None:
    model.hold()
    with client.ask("POST", path_of(session_id), {"message": "Hello"}) as answer:
        events = answer.events()
        assert next(events)[0] == "started"
        assert next(events)[0] == "heartbeat"
        model.let_go()
        assert list(events)[-1][0] == "done"


def test_a_model_that_fails_ends_the_stream_with_an_error(
    client: Client, model: StreamingModel, session_id: str
) -> None:
    model.refuse = True
    assert client.send(session_id, "Hello")[-1][0] == "error"
    model.refuse = False
    assert said(client.send(session_id, "Hello")) == "You said: Hello"
    assert [item.get("role") for item in client.history(session_id)] == ["user", "assistant"]


def test_an_idempotency_key_brings_the_same_answer_without_the_model(
    client: Client, model: StreamingModel, session_id: str
) -> None:
    key = uuid.uuid4().hex
    first = client.send(session_id, "Hello", idempotency_key=key)
    asked = len(model.seen)
    again = client.send(session_id, "Hello", idempotency_key=key)
    assert again == [first[-1]]
    assert len(model.seen) == asked


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/sessions/ada", b"not JSON", {}, 400),
        ("POST", "/sessions/ada", {"message": ""}, {}, 400),
        ("POST", "/sessions/ada", {"message": "Hello"}, {"content_type": "text/plain"}, 415),
        ("POST", "/elsewhere", {"message": "Hello"}, {}, 404),
        ("DELETE", "/sessions/ada/approvals", None, {}, 405),
        ("PUT", "/sessions/ada", None, {}, 405),
    ],
)
def test_a_bad_request_has_its_status_and_no_stream(
    client: Client, method: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    with client.ask(method, path, body, **headers) as answer:
        assert answer.status == status
        assert not answer.headers["content-type"].startswith("text/event-stream")


def test_the_page_is_served_where_it_is_asked_for_and_lets_nothing_in(client: Client, in_lambda: Client) -> None:
    """Each answer has a nonce of its own, nothing unsafe is allowed, and no markup but the sanitiser's."""
    policies = []
    for _ in range(2):
        with client.ask("GET", "/") as answer:
            html, policy = answer.text(), answer.headers["content-security-policy"]
        assert "<title>Agent</title>" in html
        [nonce] = set(re.findall(r"'nonce-([\w-]{20,})'", policy))
        assert html.count(f'nonce="{nonce}"') == len(re.findall(r"<(?:script|link rel=.stylesheet)", html))
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'; trusted-types dompurify" in policy
        policies.append(policy)
    assert policies[0] != policies[1]
    with in_lambda.ask("GET", "/") as answer:
        assert answer.json() == {"status": 200}
    with in_lambda.ask("GET", "/page/app.js") as answer:
        assert answer.status in (401, 404)


def test_the_pages_files_are_served_with_what_the_build_adds_and_no_others(client: Client) -> None:
    """Scripts, style and the pinned libraries are there, once for each browser; nothing else of the folder is."""
    for name in ("app.js", "style.css", "vendor/marked.js", "vendor/purify.js"):
        with client.ask("GET", f"/page/{name}") as answer:
            assert answer.status == 200
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-type"].startswith(("text/javascript", "text/css"))
            tag = answer.headers["etag"]
        with client.ask("GET", f"/page/{name}", if_none_match=tag) as answer:
            assert answer.status == 304
    for name in ("__init__.py", "index.html", "../settings.py", "..%2fsettings.py", "vendor/", ""):
        with client.ask("GET", f"/page/{name}") as answer:
            assert answer.status == 404


def test_the_page_loads_nothing_from_elsewhere_and_never_writes_markup() -> None:
    """Of the page's own files, none names another server or a way to make markup of text."""
    folder = ROOT / "layer" / "openai_agents_session" / "service" / "page"
    files = [path for path in folder.iterdir() if path.suffix in (".html", ".js", ".css")]
    assert len(files) > 8
    for path in files:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://\w", text), path.name
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc", "setHTML"):
            assert way not in text, path.name


def test_a_turn_ends_before_the_invocation_does_and_can_be_continued(
    in_lambda: Client, model: StreamingModel, session_id: str
) -> None:
    model.hold()
    began = time.monotonic()
    events = in_lambda.send(session_id, "Hello", **adapter_headers("AIDAADA", seconds=4))
    assert time.monotonic() - began < 4
    name, data = events[-1]
    assert (name, data["status"]) == ("error", 504)
    model.let_go()
    with in_lambda.ask("POST", path_of(session_id), {"continue": True}, **adapter_headers("AIDAADA")) as answer:
        assert said(list(answer.events())) == "You said: Hello"


def test_a_session_belongs_to_whom_the_adapter_names(in_lambda: Client, model: StreamingModel, session_id: str) -> None:
    in_lambda.send(session_id, "I am Ada", **adapter_headers("AIDAADA"))
    for user, items in (("AIDAADA", 2), ("AIDABOB", 0)):
        with in_lambda.ask("GET", path_of(session_id), **adapter_headers(user)) as answer:
            assert len(answer.json()["items"]) == items
    with in_lambda.ask("GET", path_of(session_id)) as answer:
        assert answer.status == 401


def test_outside_lambda_nobody_is_believed_to_be_the_adapter(
    client: Client, model: StreamingModel, session_id: str
) -> None:
    client.send(session_id, "I am Ada", **adapter_headers("AIDAADA", seconds=0))  # nor is the time
    assert len(client.history(session_id)) == 2


def test_many_conversations_stream_at_once(client: Client, model: StreamingModel) -> None:
    names = [uuid.uuid4().hex for _ in range(12)]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: said(client.send(name, f"I am {name}")), names))
    assert answers == [f"You said: I am {name}" for name in names]


def start_page(store: Path) -> tuple[subprocess.Popen[str], str]:
    """`make page`, and the address that it prints."""
    command = [sys.executable, "-m", "tools.page", "--port", str(free_port()), "--store", str(store)]
    page = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert page.stdout
    for line in page.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return page, found[0]
    raise AssertionError(f"it ended with exit code {page.wait()}")


def test_the_page_on_this_machine_keeps_its_conversations_from_one_start_to_the_next(tmp_path: Path) -> None:
    store = tmp_path / "chat.jsonl"
    for turns in (1, 2):
        page, url = start_page(store)
        with page:
            client = Client(url, {})
            client.send("ada", "Hello, my name is Ada.")
            assert len(client.history("ada")) == 2 * turns
            os.killpg(page.pid, signal.SIGINT)  # as Ctrl-C does: everybody gets it
            assert page.wait(timeout=30) == 130
