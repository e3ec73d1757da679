"""The function as Lambda runs it: the built layer, the real runtime client, one process an execution environment."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openai_agents_session import create_table_if_not_exists
from openai_agents_session.environment import EnvironmentSettings, ExecutionEnvironment
from tools.emulation import engines, rie
from tools.emulation.engines import Engine
from tools.emulation.rie import Emulator, FunctionError

EVENTS = Path(__file__).resolve().parents[2] / "events"


def load(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


def body(answer: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(answer["body"]) if "body" in answer else answer
    return content


@pytest.fixture(scope="module")
def layer() -> Path:
    return rie.built_layer()


def variables_for(endpoint_url: str, table: str) -> dict[str, str]:
    return {
        "SESSION_TABLE": table,
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint_url,
        "MODEL_PROVIDER": "offline",
        "POWERTOOLS_SERVICE_NAME": "agent",
        "POWERTOOLS_METRICS_NAMESPACE": "Tests",
    }


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    """What the function does with its table is tested on every engine elsewhere; here the nearest will do."""
    with engines.start("moto") as moto:
        settings = EnvironmentSettings("sessions", "us-east-1", endpoint_url=moto.endpoint_url)
        environment = ExecutionEnvironment(settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "test")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            environment.run(make_table(environment))
        environment.close()
        yield variables_for(moto.endpoint_url, "sessions")


async def make_table(environment: ExecutionEnvironment) -> None:
    await create_table_if_not_exists(await environment.client(), environment.settings.table_name)


def cold_environment(layer: Path, variables: dict[str, str], **options: int) -> Emulator:
    return Emulator("app.handler", [rie.FUNCTION, layer], variables, **options)


@pytest.fixture(scope="module")
def warm(layer: Path, variables: dict[str, str]) -> Iterator[Emulator]:
    with cold_environment(layer, variables) as emulator:
        yield emulator


def test_the_conversation_survives_the_death_of_its_environment(layer: Path, engine: Engine, table: str) -> None:
    variables = variables_for(engine.endpoint_url, table)
    answers = []
    for name in ("first_turn", "tool_turn", "follow_up", "recall"):
        with cold_environment(layer, variables) as cold:
            answers.append(cold.invoke(load(name)).answer)
    assert [answer["status"] for answer in answers] == [200] * 4
    assert "409.5" in answers[1]["answer"]
    assert answers[1]["tools"] == ["calculate"]
    assert "Your name is Ada." in answers[2]["answer"]
    assert "“Hello, my name is Ada.”" in answers[3]["answer"]
    assert all(answer["model"] == "offline" for answer in answers)


def test_two_environments_at_once_share_one_conversation(layer: Path, variables: dict[str, str]) -> None:
    with cold_environment(layer, variables) as one, cold_environment(layer, variables) as other:
        one.invoke(load("clear"))
        one.invoke(load("first_turn"))
        assert "Ada" in other.invoke(load("follow_up")).answer["answer"]
        assert "message 3" in one.invoke({"session_id": "ada-lovelace", "message": "How many?"}).answer["answer"]


def test_every_sample_event_gets_the_answer_that_it_is_an_example_of(warm: Emulator) -> None:
    def answer(name: str) -> dict[str, Any]:
        return dict(warm.invoke(load(name)).answer)

    answer("clear")
    assert "Ada" in answer("first_turn")["answer"]
    assert "409.5" in answer("tool_turn")["answer"]
    assert "Ada" in answer("follow_up")["answer"]
    assert answer("image_turn")["status"] == 200
    assert "Ada" in answer("recall")["answer"]
    assert answer("durable")["code"] == "no_durable"  # there is no such function here
    assert [item.get("role") for item in answer("history")["items"]][:2] == ["user", "assistant"]
    assert answer("bad_request") == {
        "status": 400,
        "error": "message must be a text that is not empty, or a list of content parts",
    }

    over_http = ("http_message", "custom_domain", "two_part_mapping", "named_stage", "rest_message")
    for name in (*over_http, "http_history", "function_url_message", "function_url_history"):
        assert answer(name)["statusCode"] == 200, name
    assert "Ada" in body(answer("http_message"))["answer"]
    assert len(body(answer("http_history"))["items"]) == 2 * len(over_http) + 2, "one conversation, whatever the way"
    assert (answer("alb_history")["statusCode"], answer("alb_history")["statusDescription"]) == (
        401,
        "401 Unauthorized",
    )
    assert "Jürgen" in body(answer("function_url_message"))["answer"]
    assert body(answer("function_url_history"))["items"][0]["content"] == "Grüß dich 👋, my name is Jürgen."
    assert answer("http_bad_request")["statusCode"] == 400

    assert body(answer("http_clear"))["cleared"]
    assert body(answer("http_history"))["items"] == []
    assert answer("clear")["cleared"]
    assert answer("history")["items"] == []
    answer("first_turn")
    assert answer("clear") == {"status": 200, "session_id": "ada-lovelace", "cleared": True}
    assert answer("history")["items"] == []


def test_what_nobody_waits_for_is_served_or_fails(warm: Emulator) -> None:
    """A topic's, a bus's and an asynchronous request are served; what cannot be served fails: only that is noticed."""
    for name, owner, session_id in (("sns", "barbara", "barbara-liskov"), ("eventbridge", "edsger", "edsger-dijkstra")):
        for _ in range(2):  # Lambda may deliver an event again
            assert warm.invoke(load(name)).answer == {"status": 200}
        history = warm.invoke({"session_id": session_id, "owner": owner, "action": "history"}).answer["items"]
        assert len(history) == 2
    assert warm.invoke(load("asynchronous")).answer["status"] == 200
    assert warm.invoke(load("empty_batch")).answer == {"batchItemFailures": []}
    assert warm.invoke(load("warm_up")).answer == {"status": 200, "warm": True}
    topic, bus = load("sns"), load("eventbridge")
    topic["Records"][0]["Sns"]["Message"] = "not a request"
    bus["detail"]["message"] = ""
    for failing in (load("s3"), topic, bus, load("asynchronous") | {"message": ""}):
        with pytest.raises(FunctionError, match="NotServedError"):
            warm.invoke(failing)
    assert warm.invoke(load("clear")).answer["status"] == 200


def test_every_sample_event_is_invoked_here_or_in_the_tests_of_bad_days() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_agent*.py"))
    assert [path.stem for path in EVENTS.glob("*.json") if f'"{path.stem}"' not in sources] == []


@pytest.mark.parametrize(
    "event",
    [
        [],
        {},
        {"session_id": "a" * 3000, "message": "too long an id"},
        {"session_id": "a#~b", "message": "the id of a part"},
        {"session_id": "ada", "action": "drop"},
        {"requestContext": {}},
        {"requestContext": None},
    ],
    ids=str,
)
def test_a_bad_request_gets_a_reason_and_the_environment_lives_on(warm: Emulator, event: Any) -> None:
    refused = warm.invoke(event).answer
    assert refused.get("status", refused.get("statusCode")) == 400
    assert body(refused)["error"]
    assert "Traceback" not in json.dumps(refused)
    assert warm.invoke(load("clear")).answer["status"] == 200


def test_history_and_clear_do_not_import_the_agents_sdk(layer: Path, variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(
        "import sys\nimport app\n\n"
        "def handler(event, context):\n    app.handler(event, context)\n    return 'agents' in sys.modules\n"
    )
    with Emulator("probe.handler", [tmp_path, rie.FUNCTION, layer], variables) as emulator:
        assert emulator.invoke(load("history")).answer is False
        assert emulator.invoke(load("clear")).answer is False
        assert emulator.invoke(load("first_turn")).answer is True


def test_an_environment_killed_by_its_timeout_leaves_the_conversation_whole(
    layer: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "probe.py").write_text(
        "import time\nimport app\n\n"
        "def handler(event, context):\n"
        "    answer = app.handler(event, context)\n"
        "    time.sleep(60 if event.get('hang') else 0)\n    return answer\n"
    )
    with Emulator("probe.handler", [tmp_path, rie.FUNCTION, layer], variables, timeout_seconds=10) as emulator:
        with pytest.raises(FunctionError):
            emulator.invoke(load("first_turn") | {"hang": True})
        assert "Ada" in emulator.invoke(load("follow_up")).answer["answer"]


def test_logs_are_structured_and_hold_no_message(warm: Emulator) -> None:
    secret = f"confidential-{uuid.uuid4().hex}"
    warm.invoke({"session_id": "ada", "message": secret})
    warm.invoke({"session_id": "ada", "message": ""})
    assert secret not in warm.log
    lines = [json.loads(line) for line in warm.log.splitlines() if line.startswith("{")]
    refused = next(line for line in lines if line.get("message") == "request refused")
    assert refused["level"] == "WARNING"
    assert refused["status"] == 400
    assert "Turns" in [metric["Name"] for metric in _metrics(lines)]


def _metrics(lines: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    for line in lines:
        for block in line.get("_aws", {}).get("CloudWatchMetrics", []):
            yield from block["Metrics"]


def test_a_table_that_is_missing_is_an_error_of_the_function_and_not_of_the_caller(
    layer: Path, variables: dict[str, str]
) -> None:
    with (
        cold_environment(layer, variables | {"SESSION_TABLE": "absent"}) as emulator,
        pytest.raises(FunctionError, match="TableNotFoundError"),
    ):
        emulator.invoke(load("history"))


def test_a_missing_setting_is_named(layer: Path, variables: dict[str, str]) -> None:
    with (
        cold_environment(layer, variables | {"SESSION_TABLE": ""}) as emulator,
        pytest.raises(FunctionError, match="SESSION_TABLE"),
    ):
        emulator.invoke(load("history"))
