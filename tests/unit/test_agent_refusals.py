"""Each error of the library has its answer; how long a request may take; how the service is set up."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from openai_agents_session import errors
from openai_agents_session.service.refusals import LONGEST_RETRY_AFTER_SECONDS, refusal_for
from openai_agents_session.service.service import API_SECONDS, BALANCER_SECONDS, TimeLimit
from openai_agents_session.service.settings import ServiceSettings
from openai_agents_session.service.shapes import shape_of

MADE: dict[type[errors.SessionError], errors.SessionError] = {
    errors.InvalidItemError: errors.InvalidItemError("x", index=0),
    errors.LeaseUnavailableError: errors.LeaseUnavailableError("x", retry_after=60.0),
    errors.CorruptSessionError: errors.CorruptSessionError("s", "head", "x", intact_items=0, total_items=None),
}
STATUS: dict[type[errors.SessionError], int] = {
    errors.InvalidInputError: 400,
    errors.InvalidItemError: 400,
    errors.WrongOwnerError: 404,
    errors.SessionNotFoundError: 404,
    errors.SessionExistsError: 409,
    errors.LeaseUnavailableError: 409,
    errors.LeaseLostError: 409,
    errors.RunNotPendingError: 409,
    errors.DeadlineError: 504,
    errors.UnavailableError: 503,
    errors.ContentionError: 503,
    errors.OutcomeUnknownError: 503,
}
RAISED = {
    errors.SessionClosedError,
    errors.EventLoopError,
    errors.SettingError,
    errors.CorruptSessionError,
    errors.TableNotFoundError,
    errors.IndexNotFoundError,
    errors.AccessDeniedError,
    errors.DurableRunError,  # these of durable runs, which the service's routes do not begin
    errors.ReplayMismatchError,
    errors.TurnLostError,
}
BASES = {errors.SessionError, errors.LeaseError, errors.StorageError}


def test_every_error_is_answered_or_raised() -> None:
    known = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.SessionError) and kind.__module__ == errors.__name__
    }
    assert known == STATUS.keys() | RAISED | BASES


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.__name__)
def test_what_the_caller_can_act_on_has_a_status(kind: type[errors.SessionError]) -> None:
    error = MADE.get(kind) or kind("of session 'ada@0123'")
    refusal = refusal_for(error)
    assert refusal is not None
    assert refusal.status == STATUS[kind]
    assert refusal.__cause__ is error
    assert refusal.status == 400 or "ada" not in refusal.reason


@pytest.mark.parametrize("kind", sorted(RAISED, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_the_functions_own_trouble_has_none(kind: type[errors.SessionError]) -> None:
    assert refusal_for(MADE.get(kind) or kind("x")) is None


@pytest.mark.parametrize(("left", "told"), [(0.01, 1), (1.2, 2), (60, LONGEST_RETRY_AFTER_SECONDS)])
def test_who_has_to_wait_is_told_how_long(left: float, told: int) -> None:
    refusal = refusal_for(errors.LeaseUnavailableError("x", retry_after=left))
    assert refusal is not None
    assert refusal.details == {"retry_after": told}


class Context:
    """A Lambda context with a minute left."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.mark.parametrize(
    ("event", "seconds"),
    [
        ({"session_id": "ada"}, 60),
        ({"requestContext": {"domainName": "a.lambda-url.eu-central-1.on.aws"}, "routeKey": "$default"}, 60),
        ({"requestContext": {}, "routeKey": "$default"}, 60),
        ({"requestContext": {"domainName": "api.example.com"}, "routeKey": "$default"}, API_SECONDS),
        ({"requestContext": {"domainName": "api.example.com"}, "routeKey": "POST /sessions/{id}"}, API_SECONDS),
        ({"requestContext": {}, "httpMethod": "GET"}, API_SECONDS),
        ({"requestContext": {"elb": {}}, "httpMethod": "GET"}, BALANCER_SECONDS),
    ],
)
def test_a_turn_takes_no_longer_than_is_waited_for_its_answer(event: Any, seconds: float) -> None:
    context: Any = Context()
    left = TimeLimit(context, event, shape_of(event)).get_remaining_time_in_millis()
    assert left == pytest.approx(seconds * 1000, abs=500)


def test_without_variables_the_service_is_as_documented() -> None:
    assert ServiceSettings.from_environ({}) == ServiceSettings()
    assert ServiceSettings.from_environ({"HISTORY_LIMIT": "", "OWNER_REQUIRED": ""}) == ServiceSettings()


def test_variables_set_the_service_up() -> None:
    variables = {
        "OWNER_REQUIRED": "true",
        "LEASE_WAIT_SECONDS": "0.5",
        "LOG_CONTENT": "True",
    }
    assert ServiceSettings.from_environ(variables) == ServiceSettings(True, 0.5, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OWNER_REQUIRED", "yes"),
        ("LEASE_WAIT_SECONDS", "-1"),
        ("LEASE_WAIT_SECONDS", "soon"),
        ("LEASE_WAIT_SECONDS", "nan"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        ServiceSettings.from_environ({name: value})
