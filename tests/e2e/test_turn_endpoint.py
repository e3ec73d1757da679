"""A model's endpoint that misbehaves, and keys that change: a status each, and never an uncaught exception."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support.agent import body, event
from tests.support.turns import TurnStage, ask, history, new_id, said
from tools.emulation import strict_faults
from tools.emulation.rie import Emulator
from tools.emulation.server import LocalServer, read_body, write
from tools.emulation.strict_errors import Error, quota_used_up, rate_limited
from tools.emulation.strict_script import calls, each, says

PROVIDERS = ["openai", "compatible"]
AWS = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}


MISBEHAVIOURS = {
    "HTML": strict_faults.HTML,
    "HTML with 502": strict_faults.HTML_502,
    "cut JSON": strict_faults.CUT_JSON,
    "an empty body": strict_faults.EMPTY,
    "a list": strict_faults.LIST,
    "null": strict_faults.NULL,
    "an error with status 200": strict_faults.ERROR_200,
    "500": strict_faults.SERVER_ERROR,
    "an answer that breaks off": strict_faults.Broken(),
}


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_an_endpoint_that_misbehaves_is_a_502_and_the_message_is_stored_once(
    turns: TurnStage, either: Emulator, name: str
) -> None:
    turns.model.script = lambda _: MISBEHAVIOURS[name]
    session_id = new_id()
    failed = either.invoke(ask(session_id, "Hello")).answer
    assert (failed["status"], failed.get("code")) == (502, "model_failed")
    turns.model.script = lambda _: says("Hello to you.")
    assert either.invoke(ask(session_id, "Hello")).answer.get("answer") == "Hello to you."
    assert said(history(either, session_id)) == ["Hello"]


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_an_endpoint_that_misbehaves_after_a_tool_runs_it_once(turns: TurnStage, either: Emulator, name: str) -> None:
    turns.model.script = lambda asked: MISBEHAVIOURS[name] if asked.outputs else calls("pay", amount=1)
    session_id = new_id()
    assert either.invoke(ask(session_id, "Pay.")).answer["status"] == 502
    turns.model.script = lambda _: says("Paid.")
    assert either.invoke(ask(session_id, "Pay.")).answer.get("answer") == "Paid."
    assert turns.effects.of("pay") == 1


def test_a_rate_limit_is_429_and_hands_retry_after_on(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = lambda _: rate_limited("17")
    answer = either.invoke(ask(new_id(), "Hello")).answer
    assert (answer["status"], answer.get("code"), answer.get("retry_after")) == (429, "rate_limited", 17)
    over_http = either.invoke(event("http_message")).answer
    assert over_http["statusCode"] == 429
    assert over_http["headers"]["retry-after"] == "17"
    assert body(over_http)["code"] == "rate_limited"


@pytest.mark.parametrize("value", ["soon", "-1", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT", None])
def test_a_retry_after_that_is_no_number_is_left_out_or_made_one(
    turns: TurnStage, either: Emulator, value: str | None
) -> None:
    turns.model.script = lambda _: rate_limited(value)
    answer = either.invoke(ask(new_id(), "Hello")).answer
    assert answer["status"] == 429
    assert answer.get("retry_after", 1) >= 0


def test_a_quota_that_is_used_up_is_not_worth_a_retry(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = lambda _: quota_used_up()
    answer = either.invoke(ask(new_id(), "Hello")).answer
    assert (answer["status"], answer.get("code")) == (502, "quota_used_up")
    assert "retry_after" not in answer


def test_a_model_that_is_not_there_is_a_502(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = lambda _: Error(404, "The model does not exist", "model", "model_not_found")
    answer = either.invoke(ask(new_id(), "Hello")).answer
    assert (answer["status"], answer.get("code")) == (502, "model_failed")
    assert "does not exist" not in json.dumps(answer)


@pytest.fixture(scope="module")
def secrets() -> Iterator[tuple[str, Any]]:
    os.environ["MOTO_ALLOW_NONEXISTENT_REGION"] = "true"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client("secretsmanager", endpoint_url=url, **AWS)
    yield url, client
    client.close()
    server.stop()


def with_secret(turns: TurnStage, url: str, name: str, **more: str) -> Emulator:
    variables = {"OPENAI_API_KEY": "", "OPENAI_API_KEY_SECRET": name, "AWS_ENDPOINT_URL_SECRETS_MANAGER": url}
    return turns.environment(**(variables | more))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_rotated_key_is_picked_up_at_the_first_401(turns: TurnStage, secrets: tuple[str, Any], provider: str) -> None:
    url, client = secrets
    name = client.create_secret(Name=new_id(), SecretString="sk-old")["Name"]
    turns.reset()
    with with_secret(turns, url, name, MODEL_PROVIDER=provider) as one:
        turns.model.keys = {"sk-old"}
        assert one.invoke(ask(new_id(), "Hello")).answer["status"] == 200
        client.put_secret_value(SecretId=name, SecretString="sk-new")
        turns.model.keys = {"sk-new"}
        assert one.invoke(ask(new_id(), "Hello")).answer["status"] == 200
        assert [seen.key for seen in turns.model.seen] == ["sk-old", "sk-old", "sk-new"]


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("sk-good\n", id="a newline"),
        pytest.param(" sk-good ", id="spaces"),
        pytest.param('"sk-good"', id="quoted"),
        pytest.param('{"OPENAI_API_KEY": "sk-good"}', id="the console's form"),
        pytest.param('{\n  "api_key": "sk-good"\n}\n', id="the console's form, laid out"),
    ],
)
def test_a_secret_works_in_every_form_that_people_store(
    turns: TurnStage, secrets: tuple[str, Any], secret: str
) -> None:
    url, client = secrets
    name = client.create_secret(Name=new_id(), SecretString=secret)["Name"]
    turns.reset()
    turns.model.keys = {"sk-good"}
    with with_secret(turns, url, name) as one:
        assert one.invoke(ask(new_id(), "Hello")).answer["status"] == 200


@pytest.mark.parametrize("secret", ["", '{"user": "ada", "password": "x"}', "[]", "{}"])
def test_a_secret_without_a_key_has_a_status_and_a_metric(
    turns: TurnStage, secrets: tuple[str, Any], secret: str
) -> None:
    url, client = secrets
    name = client.create_secret(Name=new_id(), SecretString=secret or " ")["Name"]
    assert_no_key(turns, url, name)


def test_a_secret_that_is_missing_has_a_status_and_a_metric(turns: TurnStage, secrets: tuple[str, Any]) -> None:
    assert_no_key(turns, secrets[0], "no-such-secret")


class KeyStore(LocalServer):
    """Secrets Manager and the Parameter Store, where every request fails in the same way.

    Args:
        error: The error's code; None for no answer at all.
    """

    def __init__(self, error: str | None) -> None:
        super().__init__()
        self._error = error

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        read_body(request)
        if self._error is None:
            self._stopped.wait()
            return
        body = {"__type": self._error, "message": f"User: agent is not authorized to read {SECRET_NAME}"}
        with contextlib.suppress(OSError):
            write(request, 400, json.dumps(body).encode(), {"content-type": "application/x-amz-json-1.1"})


SECRET_NAME = "openai-key-of-production"
STORES = {
    "OPENAI_API_KEY_SECRET": "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "OPENAI_API_KEY_PARAMETER": "AWS_ENDPOINT_URL_SSM",
}
DENIALS = ["AccessDeniedException", "DecryptionFailure", "ResourceNotFoundException", "ThrottlingException", None]


@pytest.mark.parametrize("variable", STORES)
@pytest.mark.parametrize("error", DENIALS)
def test_a_key_that_its_store_does_not_give_has_a_status_and_what_the_alarm_counts(
    turns: TurnStage, variable: str, error: str | None
) -> None:
    turns.reset()
    with KeyStore(error) as store:
        told = {"OPENAI_API_KEY": "", variable: SECRET_NAME, STORES[variable]: store.url, "LOG_LEVEL": "ERROR"}
        with turns.environment(**told) as one:
            session_id = new_id()
            answer = one.invoke(ask(session_id, "Hello")).answer
            assert (answer["status"], answer.get("code")) == (502, "no_key")
            assert [json.loads(line)["code"] for line in one.log.splitlines() if '"code"' in line] == ["no_key"]
            assert '"ModelKeyFailures"' in one.log
            assert SECRET_NAME not in one.log + json.dumps(answer)
            assert said(history(one, session_id)) == ["Hello"]
    assert turns.model.seen == []


def test_a_key_that_is_wrong_has_a_status_and_a_metric(turns: TurnStage, secrets: tuple[str, Any]) -> None:
    url, client = secrets
    name = client.create_secret(Name=new_id(), SecretString="sk-wrong")["Name"]
    assert_no_key(turns, url, name, "key_rejected")
    assert len(turns.model.seen) <= 2


def assert_no_key(turns: TurnStage, url: str, name: str, code: str = "no_key") -> None:
    turns.reset()
    turns.model.keys = {"sk-good"}
    with with_secret(turns, url, name) as one:
        session_id = new_id()
        answer = one.invoke(ask(session_id, "Hello")).answer
        assert (answer["status"], answer.get("code")) == (502, code)
        assert "ModelKeyFailures" in one.log
        assert "sk-wrong" not in one.log
        assert name not in json.dumps(answer)
        assert said(history(one, session_id)) in ([], ["Hello"])


def test_retries_of_the_client_do_not_outlast_the_turn(turns: TurnStage) -> None:
    with turns.warm(turn_seconds=8) as one:
        turns.model.script = lambda _: rate_limited("60")
        answered = one.invoke(ask(new_id(), "Hello"))
        assert answered.answer["status"] == 429
        assert answered.seconds < 4
        turns.model.script = each(strict_faults.SERVER_ERROR, says("Hello."))
        assert one.invoke(ask(new_id(), "Hello")).answer["status"] == 200
