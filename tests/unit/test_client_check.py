"""What is passed as a client and is none is named before anything is sent."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from aiobotocore.session import get_session

from openai_agents_session import InvalidInputError
from openai_agents_session._client_check import checked_client

AWS: Any = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}


def of_boto3() -> Any:
    return boto3.client("dynamodb", **AWS)


def table_of_boto3() -> Any:
    return boto3.resource("dynamodb", **AWS).Table("sessions")


class Wrapped:
    """As tests and measuring tools wrap a client."""

    async def get_item(self, **_: Any) -> Any: ...

    async def put_item(self, **_: Any) -> Any: ...


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (of_boto3, "of boto3 (botocore.client.DynamoDB), whose calls cannot be awaited"),
        (table_of_boto3, "of boto3 (boto3.resources.factory.dynamodb.Table)"),
        (lambda: boto3.client("s3", **AWS), "of boto3 (botocore.client.S3)"),
        (lambda: boto3.Session(**AWS), "no DynamoDB client (boto3.session.Session)"),
        (lambda: get_session().create_client("dynamodb", **AWS), "not entered yet"),
        (get_session, "a session (aiobotocore.session.AioSession), not a client"),
        (lambda: Wrapped, "the class Wrapped, not an object"),
        (lambda: None, "None"),
        (lambda: "agent-sessions", "no DynamoDB client (builtins.str)"),
    ],
)
def test_what_is_no_client_is_refused_by_its_name_and_the_right_one_is_said(make: Any, named: str) -> None:
    client = make()
    with pytest.raises(InvalidInputError) as caught:
        checked_client(client)
    if hasattr(client, "_coro"):
        client._coro.close()  # what was never entered was never awaited
    assert f"dynamodb_client is {named}" in str(caught.value)
    assert "an aiobotocore DynamoDB client is needed" in str(caught.value)


async def test_a_client_of_another_service_is_refused() -> None:
    async with get_session().create_client("s3", **AWS) as client:
        with pytest.raises(InvalidInputError, match=r"no DynamoDB client \(aiobotocore.client.S3\)"):
            checked_client(client)


async def test_a_client_that_can_be_awaited_is_taken_as_it_is() -> None:
    async with get_session().create_client("dynamodb", **AWS) as client:
        assert checked_client(client) is client
    wrapped = Wrapped()
    assert checked_client(wrapped) is wrapped
