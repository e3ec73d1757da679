"""The fault proxy does to a request what it says, and its meter charges what the rules say, on every engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from tools.emulation import faults
from tools.emulation.engines import Engine
from tools.emulation.meter import Bill
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

NO_ANSWER = (NoConnection, HTTPClientError)


@pytest.fixture
async def through(proxy: FaultProxy, connect: Any) -> DynamoDBClient:
    """A client behind the proxy that never retries by itself."""
    client: DynamoDBClient = await connect(proxy.url, attempts=1)
    return client


@pytest.fixture
async def retrying(proxy: FaultProxy, connect: Any) -> DynamoDBClient:
    """A client behind the proxy that retries as the SDK does."""
    client: DynamoDBClient = await connect(proxy.url, attempts=3)
    return client


def item(session_id: str, size: int = 0) -> dict[str, Any]:
    """An item of exactly that many bytes, or a small one."""
    return {"session_id": {"S": session_id}, "x": {"S": "x" * max(0, size - len("session_id") - len(session_id) - 1)}}


async def stored(client: DynamoDBClient, table: str) -> set[str]:
    answer = await client.scan(TableName=table, ConsistentRead=True)
    return {found["session_id"]["S"] for found in answer["Items"]}


async def test_a_request_passes_unchanged_and_is_recorded(
    proxy: FaultProxy, through: DynamoDBClient, client: DynamoDBClient, table: str
) -> None:
    await through.put_item(TableName=table, Item=item("a"))
    answer = await through.get_item(TableName=table, Key={"session_id": {"S": "a"}})
    assert answer["Item"] == item("a")
    assert await stored(client, table) == {"a"}
    assert proxy.operations == ["PutItem", "GetItem"]
    assert [record.reply.status for record in proxy.records if record.reply] == [200, 200]


async def test_one_connection_serves_many_requests(through: DynamoDBClient, proxy: FaultProxy, table: str) -> None:
    for number in range(5):
        await through.put_item(TableName=table, Item=item(str(number)))
    assert (len(proxy.records), proxy.connections) == (5, 1)


@pytest.mark.parametrize(
    ("fault", "applied"),
    [
        (faults.drop_request, False),
        (faults.drop_response, True),
        (faults.kill_before(lambda: None), False),
        (faults.kill_after(lambda: None), True),
    ],
    ids=["request lost", "response lost", "killed before", "killed after"],
)
async def test_a_lost_message_closes_the_connection(
    fault: faults.Fault, applied: bool, proxy: FaultProxy, through: DynamoDBClient, client: DynamoDBClient, table: str
) -> None:
    proxy.on(1, fault)
    with pytest.raises(NO_ANSWER):
        await through.put_item(TableName=table, Item=item("a"))
    assert await stored(client, table) == ({"a"} if applied else set())
    assert proxy.records[0].reply is None
    assert proxy.bill.write_units == (1 if applied else 0)


@pytest.mark.parametrize(
    ("fault", "code", "status", "applied"),
    [
        (faults.throughput_exceeded, "ProvisionedThroughputExceededException", 400, False),
        (faults.throttled, "ThrottlingException", 400, False),
        (faults.internal_error, "InternalServerError", 500, False),
        (faults.internal_error_after_write, "InternalServerError", 500, True),
        (faults.transaction_conflict, "TransactionConflictException", 400, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_error_stands_in_the_answers_place(
    fault: faults.Fault,
    code: str,
    status: int,
    applied: bool,
    proxy: FaultProxy,
    through: DynamoDBClient,
    client: DynamoDBClient,
    table: str,
) -> None:
    proxy.on("PutItem", fault)
    with pytest.raises(ClientError) as raised:
        await through.put_item(TableName=table, Item=item("a"))
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert await stored(client, table) == ({"a"} if applied else set())


async def test_the_sdk_retries_what_was_lost(
    proxy: FaultProxy, retrying: DynamoDBClient, client: DynamoDBClient, table: str
) -> None:
    proxy.on(1, faults.drop_request)
    proxy.on(2, faults.internal_error)
    await retrying.put_item(TableName=table, Item=item("a"))
    assert proxy.operations == ["PutItem"] * 3
    assert await stored(client, table) == {"a"}


async def test_a_conditional_write_fails_on_its_own_lost_answer(
    proxy: FaultProxy, retrying: DynamoDBClient, table: str
) -> None:
    proxy.on(1, faults.drop_response)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        await retrying.put_item(TableName=table, Item=item("a"), ConditionExpression="attribute_not_exists(session_id)")


async def test_another_writer_lands_between_the_lost_answer_and_the_retry(
    proxy: FaultProxy, retrying: DynamoDBClient, client: DynamoDBClient, table: str
) -> None:
    async def other_writer() -> None:
        seen.append(await stored(client, table))
        await client.put_item(TableName=table, Item=item("b"))

    seen: list[set[str]] = []
    proxy.on(1, faults.within(faults.drop_response, faults.after(other_writer)))
    await retrying.put_item(TableName=table, Item=item("a"))
    assert seen == [{"a"}]
    assert proxy.operations == ["PutItem", "PutItem"]
    assert await stored(client, table) == {"a", "b"}


async def test_a_rule_strikes_as_often_as_asked_and_only_where_it_fits(
    proxy: FaultProxy, through: DynamoDBClient, table: str
) -> None:
    proxy.on(lambda request: request.payload["Item"]["session_id"]["S"] == "bad", faults.throttled, times=2)
    await through.put_item(TableName=table, Item=item("good"))
    for _ in range(2):
        with pytest.raises(ClientError, match="Throttling"):
            await through.put_item(TableName=table, Item=item("bad"))
    await through.put_item(TableName=table, Item=item("bad"))
    assert [record.faulty for record in proxy.records] == [False, True, True, False]


async def test_a_delayed_request_is_overtaken(proxy: FaultProxy, through: DynamoDBClient, table: str) -> None:
    arrivals: list[str] = []
    proxy.on(1, faults.within(faults.delay(0.2), faults.after(lambda: arrivals.append("first"))))
    proxy.on(2, faults.after(lambda: arrivals.append("second")))
    first = asyncio.create_task(through.put_item(TableName=table, Item=item("a")))
    await asyncio.sleep(0.05)
    await through.put_item(TableName=table, Item=item("b"))
    await first
    assert arrivals == ["second", "first"]


async def test_a_batch_read_hands_keys_back(proxy: FaultProxy, through: DynamoDBClient, table: str) -> None:
    for name in "abc":
        await through.put_item(TableName=table, Item=item(name))
    keys = [{"session_id": {"S": name}} for name in "abc"]
    proxy.reset()
    proxy.on("BatchGetItem", faults.unprocessed(keep=1))
    proxy.on("BatchGetItem", faults.unprocessed(keep=0))
    request: Any = {table: {"Keys": keys, "ConsistentRead": True}}
    sizes = []
    while request:
        answer = await through.batch_get_item(RequestItems=request)
        sizes.append(len(answer["Responses"].get(table, [])))
        request = answer["UnprocessedKeys"]
    assert sizes == [1, 0, 2]
    assert proxy.bill.read_units == 3


async def test_a_batch_write_hands_items_back(
    proxy: FaultProxy, through: DynamoDBClient, client: DynamoDBClient, table: str
) -> None:
    proxy.on("BatchWriteItem", faults.unprocessed(keep=1))
    puts: Any = [{"PutRequest": {"Item": item(name)}} for name in "ab"]
    answer = await through.batch_write_item(RequestItems={table: puts})
    assert answer["UnprocessedItems"] == {table: puts[1:]}
    assert await stored(client, table) == {"a"}
    assert proxy.bill.write_units == 1


async def test_a_transaction_meets_another(
    proxy: FaultProxy, through: DynamoDBClient, client: DynamoDBClient, table: str
) -> None:
    proxy.on("TransactWriteItems", faults.transaction_conflict)
    with pytest.raises(ClientError) as raised:
        await through.transact_write_items(TransactItems=[{"Put": {"TableName": table, "Item": item("a")}}])
    assert raised.value.response["CancellationReasons"] == [{"Code": "TransactionConflict"}]
    assert await stored(client, table) == set()


async def test_a_client_killed_before_its_request_has_written_nothing(
    engine: Engine, proxy: FaultProxy, client: DynamoDBClient, table: str
) -> None:
    """SIGKILL a process at its second write: the first is there, the second is not."""
    program = (
        "import boto3, sys; client = boto3.client('dynamodb', endpoint_url=sys.argv[1], region_name='us-east-1',"
        " aws_access_key_id='test', aws_secret_access_key='test')\n"
        "for name in 'abc': client.put_item(TableName=sys.argv[2], Item={'session_id': {'S': name}})"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, proxy.url, table)
    proxy.on(2, faults.kill_before(lambda: os.kill(process.pid, signal.SIGKILL)))
    assert await process.wait() == -signal.SIGKILL
    assert await stored(client, table) == {"a"}


async def test_a_callback_that_fails_is_not_hidden_by_a_retry(engine: Engine, connect: Any, table: str) -> None:
    def broken() -> None:
        raise AssertionError("seen")

    proxy = await FaultProxy(engine.endpoint_url).__aenter__()
    proxy.on(1, faults.before(broken))
    client = await connect(proxy.url)
    await client.put_item(TableName=table, Item=item("a"))
    with pytest.raises(ExceptionGroup) as raised:
        await proxy.__aexit__()
    assert raised.group_contains(AssertionError, match="seen")


class TestMeter:
    """What passes the proxy is charged by the documented rules, from sizes that are really stored."""

    @pytest.fixture
    async def bill_of(self, proxy: FaultProxy) -> Any:
        async def bill(call: Any, *, fails: bool = False) -> Bill:
            before = proxy.bill
            with pytest.raises(ClientError) if fails else contextlib.nullcontext():
                await call
            return proxy.bill - before

        return bill

    async def test_writes_pay_for_the_larger_of_before_and_after(
        self, bill_of: Any, through: DynamoDBClient, table: str
    ) -> None:
        key = {"session_id": {"S": "a"}}
        assert (await bill_of(through.put_item(TableName=table, Item=item("a", 1024)))).write_units == 1
        assert (await bill_of(through.put_item(TableName=table, Item=item("a", 1025)))).write_units == 2
        assert (await bill_of(through.put_item(TableName=table, Item=item("a", 3000)))).write_units == 3
        assert (await bill_of(through.put_item(TableName=table, Item=item("a")))).write_units == 3
        assert (await bill_of(through.put_item(TableName=table, Item=item("a")))).write_units == 1
        grow = through.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET y = :y",
            ExpressionAttributeValues={":y": {"S": "y" * 5000}},
        )
        assert (await bill_of(grow)).write_units == 5
        touch = through.update_item(
            TableName=table, Key=key, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}}
        )
        assert (await bill_of(touch)).write_units == 5
        assert (await bill_of(through.delete_item(TableName=table, Key=key))).write_units == 5
        assert (await bill_of(through.delete_item(TableName=table, Key=key))).write_units == 1

    async def test_a_failed_condition_pays_for_the_item_in_the_way(
        self, bill_of: Any, through: DynamoDBClient, client: DynamoDBClient, table: str
    ) -> None:
        await client.put_item(TableName=table, Item=item("a", 2500))  # not seen by the meter
        refused = through.put_item(
            TableName=table, Item=item("a"), ConditionExpression="attribute_not_exists(session_id)"
        )
        assert (await bill_of(refused, fails=True)).write_units == 3
        absent = through.delete_item(
            TableName=table, Key={"session_id": {"S": "b"}}, ConditionExpression="attribute_exists(session_id)"
        )
        assert (await bill_of(absent, fails=True)).write_units == 1

    async def test_reads_pay_for_the_whole_item(self, bill_of: Any, through: DynamoDBClient, table: str) -> None:
        await through.put_item(TableName=table, Item=item("a", 4097))
        key = {"session_id": {"S": "a"}}
        strong = through.get_item(TableName=table, Key=key, ConsistentRead=True)
        assert (await bill_of(strong)).read_units == 2
        assert (await bill_of(through.get_item(TableName=table, Key=key))).read_units == 1
        part = through.get_item(TableName=table, Key=key, ConsistentRead=True, ProjectionExpression="session_id")
        assert (await bill_of(part)).read_units == 2
        absent = through.get_item(TableName=table, Key={"session_id": {"S": "b"}})
        assert (await bill_of(absent)).read_units == 0.5

    async def test_a_batch_rounds_each_item_and_a_query_the_sum(
        self, bill_of: Any, through: DynamoDBClient, table: str
    ) -> None:
        puts: Any = [{"PutRequest": {"Item": item(name, 1500)}} for name in "ab"]
        assert (await bill_of(through.batch_write_item(RequestItems={table: puts}))).write_units == 4
        keys = [{"session_id": {"S": name}} for name in ("a", "b", "absent")]
        batch: Any = {table: {"Keys": keys, "ConsistentRead": True}}
        assert (await bill_of(through.batch_get_item(RequestItems=batch))).read_units == 3
        everything = through.scan(TableName=table, ConsistentRead=True)
        assert (await bill_of(everything)).read_units == 1
        none = through.scan(
            TableName=table,
            ConsistentRead=True,
            FilterExpression="#x = :no",
            ExpressionAttributeNames={"#x": "x"},
            ExpressionAttributeValues={":no": {"S": ""}},
        )
        assert (await bill_of(none)).read_units == 1
        keyed = through.query(
            TableName=table,
            KeyConditionExpression="session_id = :id",
            FilterExpression="#x = :no",
            ExpressionAttributeNames={"#x": "x"},
            ExpressionAttributeValues={":no": {"S": ""}, ":id": {"S": "a"}},
        )
        assert (await bill_of(keyed)).read_units == 0.5

    async def test_transactions_cost_double(self, bill_of: Any, through: DynamoDBClient, table: str) -> None:
        await through.put_item(TableName=table, Item=item("checked", 1500))
        actions: Any = [
            {"Put": {"TableName": table, "Item": item("a", 1500)}},
            {
                "ConditionCheck": {
                    "TableName": table,
                    "Key": {"session_id": {"S": "checked"}},
                    "ConditionExpression": "attribute_exists(session_id)",
                }
            },
        ]
        assert (await bill_of(through.transact_write_items(TransactItems=actions))).write_units == 4 + 4
        gets: Any = [{"Get": {"TableName": table, "Key": {"session_id": {"S": name}}}} for name in ("a", "absent")]
        assert (await bill_of(through.transact_get_items(TransactItems=gets))).read_units == 2 + 2

    @pytest.mark.needs("transaction tokens")
    async def test_a_transaction_sent_again_reads(self, bill_of: Any, through: DynamoDBClient, table: str) -> None:
        actions: Any = [{"Put": {"TableName": table, "Item": item("a", 1500)}}]
        request = {"TransactItems": actions, "ClientRequestToken": "the same"}
        assert (await bill_of(through.transact_write_items(**request))).write_units == 4
        again = await bill_of(through.transact_write_items(**request))
        assert (again.write_units, again.read_units) == (0, 2)

    async def test_concurrent_writers_of_one_item_each_pay_for_what_they_found(
        self, proxy: FaultProxy, through: DynamoDBClient, table: str
    ) -> None:
        puts = (through.put_item(TableName=table, Item=item("a", 1024 * size)) for size in (1, 1, 1, 4))
        await asyncio.gather(*puts)
        # 4 for the large one, 4 for the next after it if there is one, 1 for each other.
        assert proxy.bill.write_units in (7, 10)

    async def test_requests_and_bytes_are_those_of_the_wire(
        self, proxy: FaultProxy, through: DynamoDBClient, table: str
    ) -> None:
        await through.put_item(TableName=table, Item=item("a", 1000))
        await through.get_item(TableName=table, Key={"session_id": {"S": "a"}})
        sent = sum(len(record.request.body) for record in proxy.records)
        received = sum(len(record.reply.body) for record in proxy.records if record.reply)
        assert (proxy.bill.requests, proxy.bill.bytes_sent, proxy.bill.bytes_received) == (2, sent, received)
        assert sent > 1000
        assert received > 1000
        assert proxy.bill.by_operation == {"PutItem": 1, "GetItem": 1}

    async def test_an_operation_without_a_rule_is_refused(self, through: DynamoDBClient, proxy: FaultProxy) -> None:
        with pytest.raises(ClientError, match="no rule for what ExecuteStatement costs"):
            await through.execute_statement(Statement="SELECT * FROM t")


async def test_the_proxy_runs_as_a_process_of_its_own(engine: Engine, table: str, aws_session: AioSession) -> None:
    command = (sys.executable, "-m", "tools.emulation.proxy", engine.endpoint_url, "--latency", "0.005")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout
        url = (await process.stdout.readline()).decode().strip()
        async with aws_session.create_client("dynamodb", endpoint_url=url) as behind, aiohttp.ClientSession() as http:
            await behind.put_item(TableName=table, Item=item("a", 1500))
            async with http.get(f"{url}/proxy/bill") as answer:
                assert Bill.from_json(await answer.json()).write_units == 2
            async with http.post(f"{url}/proxy/reset"), http.get(f"{url}/proxy/bill") as answer:
                assert Bill.from_json(await answer.json()) == Bill()
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
        if process.stdout:
            await process.stdout.read()
