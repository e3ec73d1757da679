"""The turns that a head remembers: their stored form, their bounds, and what a delivery meets."""

from __future__ import annotations

import pytest

from openai_agents_session.storage.record import DamagedRecordError
from openai_agents_session.storage.turn_log import (
    KEEP_TURNS,
    NO_TURNS,
    AlreadyDone,
    Awaiting,
    Delivery,
    NothingOpen,
    OtherRequest,
    Outcome,
    TurnLog,
    refused,
    request_digest,
    takes_up,
    turn_id,
)

HELLO, BYE = request_digest("hello"), request_digest("bye")
ONE, TWO = turn_id("one"), turn_id("two")
OPEN = NO_TURNS.begun(ONE, HELLO, 4)
DONE = OPEN.ended(Outcome.ANSWERED, 6)
WAITING = OPEN.ended(Outcome.WAITING, 6, waiting="0123456789abcdef")


@pytest.mark.parametrize("log", [NO_TURNS, OPEN, DONE, WAITING, OPEN.taken_up(TWO), DONE.begun(TWO, BYE, 6)])
def test_what_is_packed_is_read_back(log: TurnLog) -> None:
    assert TurnLog.unpack(log.pack()) == log


@pytest.mark.parametrize("log", [OPEN, DONE, WAITING])
def test_what_is_damaged_is_not_read(log: TurnLog) -> None:
    packed = log.pack()
    for position in range(len(packed)):
        with pytest.raises(DamagedRecordError):
            TurnLog.unpack(packed[:position] + bytes([packed[position] ^ 1]) + packed[position + 1 :])


@pytest.mark.parametrize(
    ("log", "delivery", "met"),
    [
        (NO_TURNS, Delivery(ONE, HELLO), None),
        (NO_TURNS, Delivery(ONE, HELLO, continues=True), NothingOpen()),
        (NO_TURNS, Delivery(ONE, HELLO, decides="0123456789abcdef"), NothingOpen()),
        (OPEN, Delivery(ONE, HELLO), None),
        (OPEN, Delivery(TWO, BYE), None),
        (OPEN, Delivery(TWO, BYE, continues=True), None),
        (OPEN, Delivery(ONE, BYE), OtherRequest()),
        (OPEN, Delivery(TWO, BYE, decides="0123456789abcdef"), NothingOpen()),
        (DONE, Delivery(ONE, HELLO), AlreadyDone(DONE.finished[0])),
        (DONE, Delivery(ONE, BYE), OtherRequest()),
        (DONE, Delivery(TWO, HELLO), None),
        (WAITING, Delivery(TWO, BYE), Awaiting("0123456789abcdef")),
        (WAITING, Delivery(TWO, BYE, continues=True), Awaiting("0123456789abcdef")),
        (WAITING, Delivery(TWO, BYE, decides="0123456789abcdef"), None),
        (WAITING, Delivery(TWO, BYE, decides="fedcba9876543210"), NothingOpen()),
        (WAITING, Delivery(ONE, HELLO), AlreadyDone(WAITING.finished[0])),
    ],
)
def test_a_delivery_meets_what_the_log_says(log: TurnLog, delivery: Delivery, met: object) -> None:
    assert refused(log, delivery) == met


def test_an_open_turn_is_taken_up_by_the_same_request_or_on_purpose() -> None:
    assert takes_up(OPEN, Delivery(ONE, HELLO))
    assert takes_up(OPEN, Delivery(TWO, HELLO))
    assert takes_up(OPEN, Delivery(TWO, BYE, continues=True))
    assert not takes_up(OPEN, Delivery(TWO, BYE))
    assert not takes_up(DONE, Delivery(ONE, HELLO))


def test_who_waited_is_not_told_of_a_run_that_waits_since() -> None:
    waits = WAITING.without_run().begun(TWO, BYE, 6)
    for log in (waits, waits.ended(Outcome.WAITING, 8, waiting="fedcba9876543210")):
        met = refused(log, Delivery(ONE, HELLO))
        assert isinstance(met, AlreadyDone)
        assert met.turn.outcome is Outcome.ABANDONED


def test_a_request_is_remembered_whatever_number_of_decisions_it_led_to() -> None:
    run = "0123456789abcdef"
    log = DONE.begun(TWO, BYE, 6).ended(Outcome.WAITING, 8, waiting=run)
    for number in range(3 * KEEP_TURNS):
        log = log.begun(turn_id(f"decision {number}"), HELLO, 8, decides=True).ended(Outcome.WAITING, 8, waiting=run)
        assert isinstance(refused(log, Delivery(TWO, BYE)), AlreadyDone)
    log = log.begun(turn_id("last"), HELLO, 8, decides=True).ended(Outcome.ANSWERED, 9)
    met = refused(log, Delivery(TWO, BYE))
    assert isinstance(met, AlreadyDone)
    assert (met.turn.outcome, met.turn.first, met.turn.last) == (Outcome.ANSWERED, 6, 9)
    assert len(log.finished) == KEEP_TURNS


def test_who_waited_is_answered_by_the_turn_of_the_decision() -> None:
    log = WAITING.begun(TWO, BYE, 6, decides=True)
    assert log.open is not None
    assert log.open.first == 4
    met = refused(log.ended(Outcome.ANSWERED, 9), Delivery(ONE, HELLO))
    assert isinstance(met, AlreadyDone)
    assert (met.turn.delivery, met.turn.first, met.turn.last) == (TWO, 4, 9)


def test_only_the_newest_turns_are_kept() -> None:
    log = NO_TURNS
    for number in range(KEEP_TURNS + 3):
        log = log.begun(turn_id(str(number)), HELLO, number).ended(Outcome.ANSWERED, number + 1)
    assert len(log.finished) == KEEP_TURNS
    assert log.finished_by(turn_id("2")) is None
    assert log.finished_by(turn_id("3")) is not None


def test_turns_whose_items_are_removed_are_remembered_without_them() -> None:
    [turn] = DONE.within(5).finished
    assert (turn.first, turn.last) == (4, 4)
    assert DONE.within(6) == DONE
