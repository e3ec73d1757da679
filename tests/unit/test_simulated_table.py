"""The simulated table refuses what DynamoDB refuses: a mild one would let the store pass with requests that fail."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulation.clock import EPOCH, Deadlock, VirtualLoop
from tests.simulation.table import Table, Write

KEY = {"session_id": {"S": "s"}}


class Bench:
    """A table, a clock to turn, and what was written."""

    def __init__(self) -> None:
        self.now = float(EPOCH)
        self.writes: list[Write] = []
        self.table = Table("t", lambda: self.now, random.Random(1), self.writes.append)

    def request(self, operation: str, stale: float = 0.0, **request: Any) -> Any:
        return self.table.apply(operation, {"TableName": "t", **request}, None, stale=stale)

    def put(self, **item: Any) -> None:
        self.request("PutItem", Item={**KEY, **item})

    def code(self, operation: str, **request: Any) -> str:
        """The code of the error that a request ends with."""
        with pytest.raises(ClientError) as raised:
            self.request(operation, **request)
        return str(raised.value.response["Error"]["Code"])


@pytest.fixture
def bench() -> Bench:
    return Bench()


def condition(text: str, names: dict[str, str], values: dict[str, Any] | None = None) -> dict[str, Any]:
    expression: dict[str, Any] = {"ConditionExpression": text, "ExpressionAttributeNames": names}
    return {**expression, "ExpressionAttributeValues": values} if values else expression


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("#n = :five", True),
        ("#n <> :five", False),
        ("#gone <> :five", True),
        ("#gone = :five", False),
        ("#gone < :five", False),
        ("#n < :text", False),
        ("#n <= :five AND attribute_exists(#n)", True),
        ("attribute_not_exists(#n) OR (#n >= :five AND NOT #n > :five)", True),
        ("attribute_exists(#gone) OR #n < :five", False),
        ("NOT (attribute_exists(#gone) OR #n < :five)", True),
    ],
)
def test_conditions_hold_by_type_presence_and_precedence(bench: Bench, text: str, holds: bool) -> None:
    """A comparison of other types, or with what is not there, is false; AND binds before OR."""
    bench.put(n={"N": "5.0"})
    names = {name: name[1:] for name in ("#n", "#gone") if name in text}
    values = {name: {":five": {"N": "5"}, ":text": {"S": "5"}}[name] for name in (":five", ":text") if name in text}
    request = {"Item": KEY, **condition(text, names, values)}
    if holds:
        bench.request("PutItem", **request)
    else:
        assert bench.code("PutItem", **request) == "ConditionalCheckFailedException"


@pytest.mark.parametrize(
    "request_",
    [
        {"Item": KEY, **condition("attribute_exists(#n)", {"#n": "n", "#m": "m"})},
        {"Item": KEY, **condition("attribute_exists(#n)", {"#n": "n"}, {":v": {"N": "1"}})},
        {"Item": KEY, **condition("#n = :v", {"#n": "n"})},
        {"Item": KEY, **condition("ttl = :v", {}, {":v": {"N": "1"}})},
        {"Item": KEY, **condition("attribute_exists(#n", {"#n": "n"})},
        {"Item": KEY, **condition("#n = :v garbage", {"#n": "n"}, {":v": {"N": "1"}})},
        {"Item": KEY, "Consistent": True},
        {"Item": {**KEY, "n": {"N": "five"}}},
        {"Item": {**KEY, "n": {"N": "1" * 39}}},
        {"Item": {**KEY, "b": {"B": "text"}}},
        {"Item": {"session_id": {"S": ""}}},
        {"Item": {"session_id": {"S": "k" * 2049}}},
        {"Item": {**KEY, "b": {"B": bytes(409_600)}}},
    ],
    ids=str,
)
def test_what_is_not_used_not_defined_or_too_large_is_refused(bench: Bench, request_: Any) -> None:
    """Names and values without a use, reserved words, unknown parameters, wrong values, sizes: ValidationException."""
    assert bench.code("PutItem", **request_) == "ValidationException"
    assert not bench.writes


def test_a_refusal_tells_the_item_when_asked(bench: Bench) -> None:
    """``ReturnValuesOnConditionCheckFailure=ALL_OLD`` brings what is there, and nothing where nothing is."""
    refused = condition("attribute_exists(#n)", {"#n": "n"})
    for old in (None, {"m": {"N": "1"}}):
        if old is not None:
            bench.put(**old)
        with pytest.raises(ClientError) as raised:
            bench.request("PutItem", Item=KEY, ReturnValuesOnConditionCheckFailure="ALL_OLD", **refused)
        answer: Any = raised.value.response
        assert answer.get("Item") == (None if old is None else {**KEY, **old})


def test_an_update_sets_and_removes_or_creates(bench: Bench) -> None:
    """SET and REMOVE work on what is there; the key stays; overlapping paths are refused."""
    bench.request(
        "UpdateItem",
        Key=KEY,
        UpdateExpression="SET #a = :a",
        ExpressionAttributeNames={"#a": "a"},
        ExpressionAttributeValues={":a": {"N": "1"}},
    )
    assert bench.table.items["s"] == {**KEY, "a": {"N": "1"}}
    names, values = {"#a": "a"}, {":a": {"N": "1"}}
    overlapping = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}
    assert bench.code("UpdateItem", Key=KEY, UpdateExpression="SET #a = :a REMOVE #a", **overlapping) == (
        "ValidationException"
    )
    bench.request("UpdateItem", Key=KEY, UpdateExpression="REMOVE #a", ExpressionAttributeNames=names)
    assert bench.table.items["s"] == KEY


def test_only_consistent_reads_see_the_present(bench: Bench) -> None:
    """An eventually consistent read sees any version of the last second, and none that is older."""

    def seen() -> set[str]:
        answers = [bench.request("GetItem", stale=1.0, Key=KEY) for _ in range(200)]
        return {answer.get("Item", {}).get("n", {}).get("N", "none") for answer in answers}

    bench.put(n={"N": "1"})
    bench.now += 5
    bench.put(n={"N": "2"})
    assert seen() == {"1", "2"}
    assert bench.request("GetItem", stale=1.0, Key=KEY, ConsistentRead=True)["Item"]["n"] == {"N": "2"}
    bench.now += 5
    assert seen() == {"2"}


def test_a_batch_leaves_keys_for_another_time(bench: Bench) -> None:
    """``UnprocessedKeys`` can be sent as they came; 101 keys, or a key twice, are refused."""
    keys = [{"session_id": {"S": f"k{number}"}} for number in range(3)]
    rounds = 0
    for _ in range(20):
        asked: Any = {"t": {"Keys": keys, "ConsistentRead": False}}
        while asked:
            asked = bench.table.apply("BatchGetItem", {"RequestItems": asked}, None, stale=0.9)["UnprocessedKeys"]
            rounds += 1
    assert rounds > 20
    for wrong in ([*keys, keys[0]], [{"session_id": {"S": f"k{number}"}} for number in range(101)]):
        with pytest.raises(ClientError):
            bench.table.apply("BatchGetItem", {"RequestItems": {"t": {"Keys": wrong}}}, None)


def test_ttl_deletes_what_is_expired_and_nothing_else(bench: Bench) -> None:
    """Only a number in ``ttl`` counts, from the second that it names."""
    bench.put(ttl={"S": str(EPOCH - 1)})
    assert not bench.table.delete_expired("s")
    bench.put(ttl={"N": str(EPOCH + 1)})
    assert not bench.table.delete_expired("s")
    bench.now += 1
    assert bench.table.delete_expired("s")
    assert not bench.table.items


def test_a_loop_with_nothing_left_to_do_says_so() -> None:
    """A coroutine that waits for ever ends the run with an error instead of hanging it."""
    loop = VirtualLoop()
    try:
        with pytest.raises(Deadlock):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()
