"""Requests of either shape become one; whatever else comes is refused with a reason."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.service.errors import RequestError
from openai_agents_session.service.fitting import cut
from openai_agents_session.service.identity import caller
from openai_agents_session.service.message import MAX_MESSAGE_CHARACTERS
from openai_agents_session.service.request import (
    MAX_SESSION_ID_BYTES,
    Request,
    parse,
    respond,
)
from openai_agents_session.service.shapes import Shape, shape_of

EVENTS = Path(__file__).resolve().parents[2] / "events"


def read(event: Any, *caller: Any) -> Request:
    return parse(event, shape_of(event), *caller)


def load(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


SHAPES = {
    "sqs_fifo": Shape.QUEUE,
    "sqs_poison": Shape.QUEUE,
    "empty_batch": Shape.QUEUE,
    "sns": Shape.TOPIC,
    "eventbridge": Shape.BUS,
    "warm_up": Shape.PING,
    "s3": Shape.FOREIGN,
}
ROLE = "iam:AROAIOSFODNN7EXAMPLE"
ADA = "jwt:https://login.example.com/ 3f1c2a9e-ada"
EXPECTED = {
    "first_turn": Request("message", "ada-lovelace", "Hello, my name is Ada."),
    "tool_turn": Request("message", "ada-lovelace", "What is 17.5 * 2340 / 100?"),
    "image_turn": Request("message", "ada-lovelace", load("image_turn")["message"]),
    "durable": Request("message", "ada-lovelace", "What is 17.5 * 2340 / 100?", durable=True),
    "follow_up": Request("message", "ada-lovelace", "What is my name?"),
    "recall": Request("message", "ada-lovelace", "What did I say first?"),
    "history": Request("history", "ada-lovelace", limit=20),
    "clear": Request("clear", "ada-lovelace"),
    "http_message": Request("message", "ada-lovelace", "Hello, my name is Ada.", owner=ADA),
    "http_history": Request("history", "ada-lovelace", limit=20, owner=ADA),
    "http_clear": Request("clear", "ada-lovelace", owner=ADA),
    "function_url_message": Request("message", "grüße", "Grüß dich 👋, my name is Jürgen.", owner=ROLE),
    "function_url_history": Request("history", "grüße", owner=ROLE),
    "custom_domain": Request("message", "ada-lovelace", "Hello, my name is Ada.", owner=ADA),
    "two_part_mapping": Request("message", "ada-lovelace", "Hello, my name is Ada.", owner=ADA),
    "named_stage": Request("message", "ada-lovelace", "Hello, my name is Ada.", owner=ADA),
    "rest_message": Request("message", "ada-lovelace", "Hello, my name is Ada.", owner=ADA),
    "alb_history": Request("history", "ada-lovelace", limit=20),
    "asynchronous": Request("message", "ada-lovelace", "Hello, my name is Ada."),
    "refund": Request("message", "ada-lovelace", "Please refund 25 euros for order A-17."),
    "approvals": Request("approvals", "ada-lovelace"),
    "approve": Request("approve", "ada-lovelace", run_id="0123456789abcdef"),
    "reject": Request("reject", "ada-lovelace", run_id="0123456789abcdef"),
    "continue": Request("continue", "ada-lovelace"),
    "owned_turn": Request(
        "message",
        "ada-lovelace",
        "Hello, my name is Ada.",
        owner="ada@example.com",
        idempotency_key="order-confirmation-4711",
    ),
    "http_iam_message": Request("message", "ada-lovelace", "Hello, my name is Ada.", owner="iam:AROAIOSFODNN7EXAMPLE"),
    "http_refund": Request(
        "message",
        "ada-lovelace",
        "Please refund 25 euros for order A-17.",
        owner=ADA,
        idempotency_key="7d2b1c9e-refund",
    ),
    "http_approvals": Request("approvals", "ada-lovelace", owner=ADA),
    "http_approve": Request("approve", "ada-lovelace", owner=ADA, run_id="0123456789abcdef"),
    "http_reject": Request(
        "reject", "ada-lovelace", owner=ADA, run_id="0123456789abcdef", call_ids=("offline_refund_1",)
    ),
    "list": Request("list", "", limit=20, owner="ada@example.com"),
    "update": Request("update", "ada-lovelace", changes={"title": "Who I am"}),
    "fork": Request("fork", "ada-lovelace", keep=2),
    "rewind": Request("rewind", "ada-lovelace", keep=2),
    "edit": Request("edit", "ada-lovelace", "Hello, my name is Grace."),
    "regenerate": Request("regenerate", "ada-lovelace"),
    "stop": Request("stop", "ada-lovelace"),
    "http_list": Request("list", "", limit=20, owner=ADA, search="name"),
    "http_update": Request(
        "update", "ada-lovelace", owner=ADA, changes={"title": "Who I am", "metadata": {"folder": "friends"}}
    ),
    "http_fork": Request("fork", "ada-lovelace", owner=ADA, keep=2),
    "http_rewind": Request("rewind", "ada-lovelace", owner=ADA, keep=2),
    "http_edit": Request("edit", "ada-lovelace", "Hello, my name is Grace.", owner=ADA),
    "http_regenerate": Request("regenerate", "ada-lovelace", owner=ADA),
    "http_stop": Request("stop", "ada-lovelace", owner=ADA),
    "http_continue": Request("continue", "ada-lovelace", owner=ADA),
}
REFUSED = {"bad_request", "http_bad_request"}


def test_every_sample_event_is_expected_to_be_something() -> None:
    assert {path.stem for path in EVENTS.glob("*.json")} == EXPECTED.keys() | REFUSED | SHAPES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_event_is_read_as_what_it_means(name: str) -> None:
    assert read(load(name), caller) == EXPECTED[name]


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_no_request_of_one_caller_is_known_by_its_form(name: str) -> None:
    assert shape_of(load(name)) is SHAPES[name]


@pytest.mark.parametrize("name", [*EXPECTED, *sorted(REFUSED)])
def test_a_request_of_one_caller_is_taken_for_one(name: str) -> None:
    shape = shape_of(load(name))
    assert shape is Shape.DIRECT or shape.is_http


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_bad_sample_event_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(RequestError, match="message must be a text") as refusal:
        read(load(name))
    assert refusal.value.status == 400


def http(**changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = copy.deepcopy(load("http_message"))
    method, path = changes.pop("method", None), changes.pop("path", None)
    if method:
        event["requestContext"]["http"]["method"] = method
    if path:
        event |= {"rawPath": path, "pathParameters": None}
    return event | changes


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        ([], 400, "JSON object"),
        ("hello", 400, "JSON object"),
        (None, 400, "JSON object"),
        ({}, 400, "session_id"),
        ({"session_id": "a"}, 400, "message"),
        ({"session_id": 7, "message": "x"}, 400, "session_id"),
        ({"session_id": " ", "message": "x"}, 400, "session_id"),
        ({"session_id": "a", "message": "  \n"}, 400, "message"),
        ({"session_id": "a", "message": ["x"]}, 400, "message"),
        ({"session_id": "a", "message": "\ud83d"}, 400, "surrogate"),
        ({"session_id": "a", "message": "x" * (MAX_MESSAGE_CHARACTERS + 1)}, 413, "characters"),
        ({"session_id": "a", "action": "delete"}, 400, "action"),
        ({"session_id": "a", "action": ["clear"]}, 400, "action"),
        ({"session_id": "a", "action": "history", "limit": 0}, 400, "limit"),
        ({"session_id": "a", "action": "history", "limit": 1001}, 400, "limit"),
        ({"session_id": "a", "action": "history", "limit": True}, 400, "limit"),
        ({"session_id": "a", "action": "history", "limit": "many"}, 400, "limit"),
        ({"session_id": "a", "action": "history", "limit": 1.5}, 400, "limit"),
        ({"session_id": "é" * (MAX_SESSION_ID_BYTES // 2 + 1), "message": "x"}, 400, "bytes"),
        ({"session_id": "a", "message": "x", "owner": 7}, 400, "owner"),
        ({"session_id": "a", "message": "x", "owner": ""}, 400, "owner"),
        ({"session_id": "a", "message": "x", "idempotency_key": ["k"]}, 400, "idempotency_key"),
        ({"session_id": "a", "message": "x", "idempotency_key": "k" * 1025}, 400, "idempotency_key"),
        ({"session_id": "a", "message": "x", "durable": "yes"}, 400, "durable"),
        ({"session_id": "a", "action": "edit", "position": 0, "message": "x", "durable": True}, 400, "durable"),
        ({"session_id": "a", "action": "regenerate", "durable": True}, 400, "durable"),
        ({"session_id": "a", "action": "approve"}, 400, "run_id"),
        ({"session_id": "a", "action": "approve", "run_id": "r", "call_ids": []}, 400, "call_ids"),
        ({"session_id": "a", "action": "reject", "run_id": "r", "call_ids": "c"}, 400, "call_ids"),
        ({"session_id": "a", "action": "reject", "run_id": "r", "call_ids": [7]}, 400, "call_ids"),
        (http(body='{"continue": true, "durable": true}'), 400, "durable"),
        (http(path="/sessions/ada/edit", body='{"position": 0, "message": "x", "durable": true}'), 400, "durable"),
        (http(path="/sessions/ada/regenerate", body='{"durable": true}'), 400, "durable"),
        (http(path="/sessions/ada/approvals", body='{"run_id": "r"}'), 400, "decision"),
        (http(path="/sessions/ada/approvals", body='{"decision": "clear", "run_id": "r"}'), 400, "decision"),
        (http(path="/sessions/ada/approvals", body='{"decision": "reject"}'), 400, "run_id"),
        (http(path="/sessions/ada/approvals", method="DELETE"), 405, "POST, GET"),
        (http(path="/sessions/approvals", method="PUT"), 405, "POST, GET, PATCH, DELETE"),
        (http(path="/sessions//approvals", method="GET"), 404, "/sessions/"),
        ({"requestContext": None}, 400, "payload format 1.0 or 2.0"),
        ({"requestContext": {}, "httpMethod": "GET", "path": "/"}, 404, "/sessions/"),
        (http(path="/"), 404, "/sessions/"),
        (http(path="/sessions"), 405, "GET"),
        (http(path="/sessions/"), 405, "GET"),
        (http(path="/other/ada"), 404, "/sessions/"),
        (http(method="PUT"), 405, "POST, GET, PATCH, DELETE"),
        (http(body="not JSON"), 400, "not JSON"),
        (http(body=None), 400, "JSON object"),
        (http(body='["message"]'), 400, "JSON object"),
        (http(body="[" * 100_000), 400, "not JSON"),
        (http(body="YQ", isBase64Encoded=True), 400, "not JSON"),
        (http(body=base64.b64encode(b"\xff\xfe").decode(), isBase64Encoded=True), 400, "not JSON"),
    ],
)
def test_what_is_wrong_gets_a_status_and_a_reason(event: Any, status: int, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refusal:
        read(event)
    assert refusal.value.status == status


def test_the_message_of_the_greatest_length_is_taken() -> None:
    assert len(read({"session_id": "a", "message": "x" * MAX_MESSAGE_CHARACTERS}).message) == MAX_MESSAGE_CHARACTERS


@pytest.mark.parametrize(
    ("path", "session_id"),
    [("/sessions/a%2Fb", "a/b"), ("/sessions/a/b", "a/b"), ("/sessions/a%20b", "a b"), ("/sessions/100%25", "100%")],
)
def test_without_a_gateways_route_the_id_is_decoded_from_the_path(path: str, session_id: str) -> None:
    assert read(http(path=path)).session_id == session_id


@pytest.mark.parametrize(
    ("path", "action", "session_id"),
    [
        ("/sessions/ada/approvals", "approvals", "ada"),
        ("/sessions/ada%2Fapprovals", "history", "ada/approvals"),
        ("/sessions/approvals/approvals", "approvals", "approvals"),
        ("/sessions/approvals", "history", "approvals"),
    ],
)
def test_approvals_are_a_resource_of_their_own(path: str, action: str, session_id: str) -> None:
    request = read(http(path=path, method="GET"))
    assert (request.action, request.session_id) == (action, session_id)


def test_with_a_gateways_route_an_id_that_ends_like_a_resource_is_an_id() -> None:
    event = http(method="GET", pathParameters={"session_id": "ada/approvals"}, rawPath="/sessions/ada/approvals")
    assert read(event).action == "history"


def test_who_asks_is_not_for_the_body_to_say() -> None:
    body = json.dumps(
        {"message": "Hi", "owner": "ada", "session_id": "hers", "action": "clear", "idempotency_key": "k"}
    )
    assert read(http(body=body)) == Request("message", "ada-lovelace", "Hi")


def test_a_reason_to_wait_is_a_header_too() -> None:
    answer = respond(load("http_message"), Shape.HTTP, 409, {"error": "busy", "retry_after": 3})
    assert answer["headers"]["retry-after"] == "3"


def test_with_a_gateways_route_the_id_is_not_decoded_twice() -> None:
    assert read(http(pathParameters={"session_id": "100%25"})).session_id == "100%25"


def test_a_stage_in_the_path_is_not_part_of_the_resource() -> None:
    event = http(path="/prod/sessions/ada")
    event["requestContext"]["stage"] = "prod"
    assert read(event).session_id == "ada"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["session_id", "message", "action", "limit", "requestContext", "rawPath", "pathParameters", "body", "stage"]


@given(st.dictionaries(st.sampled_from([*FIELDS, "queryStringParameters", "isBase64Encoded"]), JSON) | JSON)
def test_whatever_comes_is_read_or_refused(event: Any) -> None:
    assert_read_or_refused(event)


@given(JSON, JSON, JSON, JSON, st.booleans())
def test_whatever_comes_over_http_is_read_or_refused(
    path: Any, body: Any, query: Any, parameters: Any, encoded: bool
) -> None:
    event = http(rawPath=path, body=body, queryStringParameters=query, isBase64Encoded=encoded)
    assert_read_or_refused(event | {"pathParameters": parameters})


def assert_read_or_refused(event: Any) -> None:
    try:
        request = read(event)
    except RequestError as error:
        refusal = error
    else:
        assert isinstance(request, Request)
        return
    assert 400 <= refusal.status < 500
    assert refusal.reason


def test_a_direct_caller_gets_the_plain_answer_and_its_status() -> None:
    assert respond({"session_id": "a"}, Shape.DIRECT, 200, {"answer": "yes"}) == {"status": 200, "answer": "yes"}


def test_an_http_caller_gets_json_that_is_not_cached() -> None:
    answer = respond(http(), Shape.HTTP, 400, {"error": "größer"})
    assert answer["statusCode"] == 400
    assert answer["headers"] == {"content-type": "application/json", "cache-control": "no-store"}
    assert json.loads(answer["body"]) == {"status": 400, "error": "größer"}


HTTP_ROUTES = {"approvals", "edit", "regenerate", "stop", "fork", "rewind"}


@pytest.mark.parametrize("behind", sorted(HTTP_ROUTES))
def test_an_id_that_ends_like_a_route_is_an_id_where_it_is_encoded(behind: str) -> None:
    """A slash of an id is encoded, so that a session named like a route is not taken for one."""
    event = http()
    event["requestContext"]["http"]["method"] = "GET"
    event |= {"routeKey": "$default", "pathParameters": None, "rawPath": f"/sessions/a%2F{behind}"}
    event["requestContext"]["http"]["path"] = event["rawPath"]
    assert read(event) == Request("history", f"a/{behind}")


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "rewind"},
        {"action": "rewind", "keep": -1},
        {"action": "rewind", "keep": True},
        {"action": "rewind", "keep": "many"},
        {"action": "edit", "message": "x"},
        {"action": "edit", "position": 0},
        {"action": "edit", "position": 1.5, "message": "x"},
        {"action": "update"},
        {"action": "update", "title": 1},
        {"action": "update", "title": "\ud800"},
        {"action": "update", "metadata": ["x"]},
        {"action": "fork", "copy_id": ""},
        {"action": "fork", "copy_id": "x" * 1025},
        {"action": "history", "before": "x"},
        {"action": "list", "limit": 201},
        {"action": "list", "cursor": 1},
        {"action": "list", "search": "x" * 2000},
    ],
    ids=str,
)
def test_what_is_asked_of_a_conversation_is_checked(changes: dict[str, Any]) -> None:
    """Each member has its form, and the refusal names it."""
    with pytest.raises(RequestError) as refused:
        read({"session_id": "a", **changes})
    assert refused.value.status == 400


def test_a_large_answer_is_cut_to_what_lambda_carries() -> None:
    """Whatever an answer holds, its escaped form stays within 6 MB, and says that it was cut."""
    for text in ('"' * 3_000_000, "👩" * 1_000_000, "\\" * 3_000_000, "plain " * 2_000_000):
        answer = respond(http(), Shape.HTTP, 200, {"answer": text, "session_id": "a"})
        assert len(json.dumps(answer)) <= 6_291_556
        body = json.loads(answer["body"])
        assert body["cut"]
        assert body["session_id"] == "a"
        assert text.startswith(body["answer"].partition("… (left out: ")[0])
    assert "cut" not in json.loads(respond(http(), Shape.HTTP, 200, {"answer": '"' * 1_000_000})["body"])


def test_what_is_cut_says_how_much_is_left_out() -> None:
    """Long texts keep their beginning, data of files none of it, and short values are as they were."""
    item = {"role": "user", "content": [{"text": "x" * 20_000}, {"image_url": f"data:image/png;base64,{'A' * 5_000}"}]}
    assert cut(item) == {
        "role": "user",
        "content": [
            {"text": f"{'x' * 10_000}… (left out: 10000 characters)"},
            {"image_url": "(left out: 5022 characters of data:image/png)"},
        ],
    }


@pytest.mark.parametrize(
    ("path", "session_id"),
    [
        ("/sessions/x/", "x"),
        ("/sessions/x", "x"),
        ("/sessions/x%2F", "x/"),
        ("/v1/sessions/x", "x"),
        ("/team/agent/sessions/x", "x"),
        ("/v1/sessions/sessions", "sessions"),
    ],
)
def test_a_path_names_a_session_wherever_a_mapping_puts_it(path: str, session_id: str) -> None:
    """A domain's mapping may stand before the resource, and a slash at its end names no other session."""
    event = http(path=path, routeKey="$default")
    assert read(event).session_id == session_id


def test_with_a_mapping_the_route_says_whether_approvals_are_meant() -> None:
    event = http(method="GET", pathParameters={"session_id": "ada"}, rawPath="/v1/sessions/ada/approvals")
    assert read(event | {"routeKey": "GET /sessions/{session_id}/approvals"}).action == "approvals"
    assert read(event | {"routeKey": "GET /sessions/{session_id}"}).action == "history"


@pytest.mark.parametrize("headers", [None, {}, {"Idempotency-Key": None}, {"IDEMPOTENCY-KEY": "k"}])
def test_headers_may_be_missing_or_null_and_have_any_case(headers: Any) -> None:
    assert read(http(headers=headers)).idempotency_key == ("k" if headers and "k" in headers.values() else None)


def test_a_method_that_is_not_served_is_told_which_are() -> None:
    """405 has the header Allow, in every form of HTTP."""
    for event in (http(method="PUT"), load("rest_message") | {"httpMethod": "PUT"}):
        shape = shape_of(event)
        with pytest.raises(RequestError) as refusal:
            read(event)
        answer = respond(event, shape, refusal.value.status, refusal.value.details)
        assert answer["headers"]["allow"] == "POST, GET, PATCH, DELETE"


def test_a_rest_api_gives_ids_as_they_were_sent() -> None:
    event = load("rest_message") | {"pathParameters": {"session_id": "gr%C3%BC%C3%9Fe"}}
    assert read(event).session_id == "grüße"
    proxied = load("rest_message") | {"pathParameters": {"proxy": "sessions/ada"}, "resource": "/{proxy+}"}
    assert read(proxied).session_id == "ada-lovelace"


def test_a_load_balancer_gets_the_form_that_it_asks_for() -> None:
    """With multi-value headers on, a load balancer drops an answer that has plain ones."""
    event = load("alb_history")
    answer = respond(event, Shape.BALANCER, 404, {"error": "no"})
    assert (answer["statusDescription"], answer["isBase64Encoded"]) == ("404 Not Found", False)
    assert answer["headers"]["content-type"] == "application/json"
    many = {"multiValueHeaders": {"accept": ["application/json"]}, "multiValueQueryStringParameters": {"limit": ["7"]}}
    event = {name: value for name, value in event.items() if name not in ("headers", "queryStringParameters")} | many
    assert read(event).limit == 7
    answer = respond(event, Shape.BALANCER, 200, {})
    assert answer["multiValueHeaders"]["content-type"] == ["application/json"]
    assert "headers" not in answer


@pytest.mark.parametrize(
    ("event", "shape"),
    [
        ({}, Shape.DIRECT),
        ({"Records": "none"}, Shape.DIRECT),
        ({"Records": [None]}, Shape.FOREIGN),
        ({"Records": [{"cf": {}}]}, Shape.FOREIGN),
        ({"Records": [{"eventSource": "aws:kinesis"}]}, Shape.FOREIGN),
        ({"eventSource": "aws:kafka", "eventSourceArn": "arn:aws:kafka:...", "records": {"t-0": []}}, Shape.FOREIGN),
        ({"eventSource": "SelfManagedKafka", "bootstrapServers": "b-1", "records": {"t-0": []}}, Shape.FOREIGN),
        ({"eventSource": "aws:mq", "eventSourceArn": "arn:aws:mq:...", "messages": [{}]}, Shape.FOREIGN),
        ({"eventSource": "aws:rmq", "eventSourceArn": "arn:aws:mq:...", "rmqMessagesByQueue": {}}, Shape.FOREIGN),
        ({"awslogs": {"data": "H4sI"}}, Shape.FOREIGN),
        ({"invocationId": "i", "deliveryStreamArn": "arn:aws:firehose:...", "records": [{}]}, Shape.FOREIGN),
        ([{"messageId": "1", "body": "{}"}], Shape.FOREIGN),
        ([], Shape.DIRECT),
        ({"alarmArn": "a", "alarmData": {"alarmName": "n"}}, Shape.FOREIGN),
        ({"CodePipeline.job": {"id": "j"}}, Shape.FOREIGN),
        ({"invokingEvent": "{}", "ruleParameters": "{}"}, Shape.FOREIGN),
        (
            {"version": "1.0", "requestContext": {"functionArn": "arn:aws:lambda:..."}, "responsePayload": 1},
            Shape.FOREIGN,
        ),
        ({"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"}, Shape.PING),
        ({"source": "serverless-plugin-warmup"}, Shape.PING),
        ({"warmer": True}, Shape.PING),
        ({"session_id": "a", "message": "x", "ping": "no"}, Shape.DIRECT),
        ({"detail-type": "Scheduled Event", "detail": {"session_id": "a", "message": "x"}}, Shape.BUS),
        ({"requestContext": None}, Shape.HTTP),
    ],
    ids=str,
)
def test_the_form_of_an_event_says_who_sent_it(event: Any, shape: Shape) -> None:
    assert shape_of(event) is shape
