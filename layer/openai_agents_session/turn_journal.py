"""One turn's session: what the agent does is in the history before it can be lost, and the answer ends the turn.

The SDK stores a step when all its tools have ended. A tool's effect would be forgotten if the step were cut off, and
had again when the turn is taken up. So the run gets this in place of the session, and its hooks tell what happens::

    journal.step(response)        on_llm_end     the model's items, with the calls: stored before any tool runs
    journal.output(id, result)    on_tool_end    what a tool returned; the last one of a step is left to the SDK
    add_items(batch)              the SDK        the batch, without what is stored already
    journal.answered(outcome)     on_agent_end   from now on the SDK's append is the turn's last: it ends the turn, and
                                                 gives the lease back, in one write with the answer

A step whose tools all have no effects is left to the SDK's own append. With k tools a step costs 1 + k writes, else 1.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .dynamodb import _settled
from .errors import SessionError
from .storage.items import from_batch
from .storage.turn_log import Begun, Delivery, OpenTurn, Outcome
from .storage.usage import NO_USAGE, Usage
from .tool_calls import OUTPUT_TYPES, open_calls, output_of

if TYPE_CHECKING:
    from agents import ModelResponse

    from .dynamodb import DynamoDBSession

__all__ = ["BLOCKED", "INTERRUPTED", "NOT_RUN", "TurnJournal", "called", "mended"]

INTERRUPTED = "This call was interrupted: it may have had effects, its output is unknown."
"""The output of a call that has none."""

NOT_RUN = "This call was given up, and has not run."
"""The output of a call that nobody wanted to decide on."""

BLOCKED = "This message was blocked."
"""What stands for a message that may not be read, where what was done for it has to stay."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Step:
    """A step that is in the history.

    Attributes:
        calls: The ids of its calls.
        others: How many items it has that are no calls: reasoning and messages.
    """

    calls: frozenset[str]
    others: int


class StoredSteps:
    """What of a turn is stored, by its calls: the SDK appends a step when its tools have run, and so once more."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._keys: set[tuple[str, str]] = set()

    def has(self, key: tuple[str, str]) -> bool:
        """Whether a call or an output is stored, by its type and its call's id."""
        return key in self._keys

    def note(self, items: Iterable[Any]) -> list[Any]:
        """Remember items that are stored; those of them that were not known yet."""
        items = [item for item in items if _key(item) not in self._keys]
        keys = {key for item in items if (key := _key(item))}
        calls = frozenset(call_id for kind, call_id in keys if _is_call(kind))
        self._keys |= keys
        if calls:
            self._steps.append(_Step(calls, sum(_is_other(item) for item in items)))
        return items

    def not_stored(self, batch: Iterable[Any]) -> list[Any]:
        """A batch without what is stored: calls and outputs by their ids, what came with the calls by its order."""
        items = [item if isinstance(item, dict) else item.model_dump(mode="json", exclude_unset=True) for item in batch]
        calls = {key[1] for item in items if (key := _key(item)) and _is_call(key[0])}
        others = sum(step.others for step in self._steps if step.calls & calls)
        fresh = []
        for item in items:
            if others and _is_other(item):
                others -= 1
            elif _key(item) not in self._keys:
                fresh.append(item)
        return fresh


class TurnJournal:
    """The session of one turn, for the SDK's runner; made by ``turns.named_turn``.

    Args:
        session: The session, whose lease is held.
        begun: The turn.
        delivery: Who asked for it.
        message: The items that it begins with.
        without_effects: Names of tools that may run again without harm.
        keep: How many items of the history stay before the message; None for all.

    Attributes:
        session_id: The session's.
        turn: The turn.
        is_taken_up: Whether it was begun before, and goes on from what is stored.
        is_interrupted: Whether a turn before was not done: call ``go_on`` before the run.
        is_ended: Whether it is done and the lease is given back.
        tools: The names of the tools that were called, in order.
        is_resumed: Whether a turn that decides on a run goes on with that run, whose usage so far it then brings. Set
            it to False for a run of its own.
    """

    def __init__(
        self,
        session: DynamoDBSession,
        begun: Begun,
        delivery: Delivery,
        message: list[Any],
        without_effects: Collection[str] = (),
        keep: int | None = None,
    ) -> None:
        self.session_id = session.session_id
        self.turn: OpenTurn = begun.turn
        self.is_taken_up = begun.interrupted and begun.turn.ids[0] == delivery.id
        self.is_interrupted = begun.interrupted
        self.is_ended = False
        self.tools: list[str] = []
        self._session, self._store = session, session._store
        self._delivery, self._message, self._keep = delivery, message, keep
        self._without_effects = frozenset(without_effects)
        self._stored = StoredSteps()
        self._raw_calls: dict[str, Any] = {}
        self._running: set[str] = set()
        self._outputs: dict[str, dict[str, Any]] = {}
        self._outcome: Outcome | None = None
        self._usage = NO_USAGE
        self._is_unsure = False
        self.is_resumed = True

    # --- the SDK's protocol ------------------------------------------------------------------------------------------

    @property
    def session_settings(self) -> Any:
        """The session's."""
        return self._session.session_settings

    @session_settings.setter
    def session_settings(self, settings: Any) -> None:
        self._session.session_settings = settings

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """The history."""
        items: list[Any] = list(await self._session.get_items(limit))
        return items

    async def add_items(self, items: list[Any]) -> None:
        """Append what of a batch is not stored yet; the last one ends the turn."""
        if self._is_unsure:
            await self.recall()
        fresh = self._stored.not_stored(items)
        if self._outcome is not None and not self.is_ended:
            await self.end(self._outcome, fresh, usage=self._usage)
        elif fresh:
            await self._session.add_items(fresh)
        self._note(fresh)

    async def pop_item(self) -> Any:
        """Remove the newest item and return it."""
        return await self._session.pop_item()

    async def clear_session(self) -> None:
        """Remove the session."""
        await self._session.clear_session()

    # --- what the run's hooks tell -----------------------------------------------------------------------------------

    async def step(self, response: ModelResponse) -> None:
        """Store what the model answered, if it calls tools that have effects. Raises before any of them runs."""
        items = step_of(response, self._without_effects)
        if not items:
            return
        await self._session.add_items(items)
        self._note(items)
        output: list[Any] = response.output
        calls = {str(item.call_id): item for item in output if _is_call(_kind(item))}
        self._raw_calls, self._running = calls, set(calls)

    async def output(self, call_id: str, result: Any) -> None:
        """Store what a tool returned.

        A failure is not raised, since the other tools are running: the SDK's own append has the output, too.
        """
        self._running.discard(call_id)
        call = self._raw_calls.get(call_id)
        if call is None or _kind(call) != "function_call":
            return
        try:
            from agents import ItemHelpers

            self._outputs[call_id] = item = dict(ItemHelpers.tool_call_output_item(call, result))
            if self._running:  # the last one comes with the SDK's append, at once
                await self._session.add_items([item])  # type: ignore[list-item]
                self._note([item])
        except SessionError as error:
            self._is_unsure = True
            _logger.warning("session %r: a tool's output is not stored yet: %s", self.session_id, type(error).__name__)

    def answered(self, outcome: Outcome = Outcome.ANSWERED, *, usage: Usage = NO_USAGE) -> None:
        """The agent is done: the SDK's next append ends the turn.

        Args:
            outcome: How it ends.
            usage: What the run has used: ``Usage.of(context.usage)``; see ``end``.
        """
        self._outcome, self._usage = outcome, usage

    # --- the turn ----------------------------------------------------------------------------------------------------

    async def go_on(self) -> None:
        """Put in order what a turn left that was not done; and begin this one, if it is another."""
        items = await self.close()
        if not self.is_taken_up or not items:
            batch = from_batch(self.session_id, self._message)
            async with self._session._open():
                self.turn = await _settled(self._store.start_turn(self._delivery, batch, self._keep))
            return
        self.remember(items)

    async def close(self, text: str = INTERRUPTED) -> list[Any]:
        """Make the turn's items valid: each call has an output, known or not, and no reasoning stands at the end.

        Args:
            text: The output of calls that have none.

        Returns:
            The items of the turn.
        """
        async with self._session._open():
            items, head = await self._store.read_from(self.turn.first)
            whole = mended(items, self._outputs, text)
            same = sum(1 for item, other in zip(items, whole, strict=False) if item is other)
            if same < max(len(items), len(whole)):
                rest = from_batch(self.session_id, whole[same:])
                await _settled(self._store.replace(self.turn.first + same, rest, expected=head.commit))
        return whole

    async def recall(self) -> None:
        """Find out what of the turn is stored."""
        async with self._session._open():
            items, _ = await self._store.read_from(self.turn.first)
        self.remember(items)
        self._is_unsure = False

    def remember(self, items: Iterable[Any]) -> None:
        """Take items for stored that were, by an earlier attempt or the run that waited."""
        self._stored, self.tools = StoredSteps(), []
        step: list[Any] = []
        for item in items:
            if step and _is_output(_kind(item)):
                self._note(step)
                step = []
            step.append(item)
        self._note(step)

    async def end(
        self,
        outcome: Outcome,
        items: list[Any] | None = None,
        *,
        waiting: str | None = None,
        keep: int | None = None,
        removed: Sequence[Any] = (),
        usage: Usage = NO_USAGE,
    ) -> None:
        """End the turn with its last items, and give the lease back, in one write.

        Args:
            outcome: How it ended.
            items: What is still to be stored.
            waiting: The run that waits for a decision.
            keep: How many items of the history stay; None for all.
            removed: Items that do not stay: a title that was taken from them does not either.
            usage: What the run has used, as the SDK counts it, added to the session's in the same write. A run that was
                resumed brings with it what it had used when it was parked: that is not counted twice.
        """
        batch = from_batch(self.session_id, items or [])
        how: Any = {"waiting": waiting, "keep": keep, "removed": removed, "usage": usage, "is_resumed": self.is_resumed}
        async with self._session._open():
            await _settled(self._store.end_turn(batch, outcome, **how))
        self.is_ended = True

    async def block(self) -> None:
        """End a turn whose message a guardrail blocked: no model reads it again. What was done for it stays known."""
        async with self._session._open():
            items, _ = await self._store.read_from(self.turn.first)
        done = [item for item in mended(items, self._outputs) if not _is_said(item)]
        left = [{"role": "user", "content": BLOCKED}, *done] if done else []
        await self.end(Outcome.INPUT_BLOCKED, left, keep=self.turn.first, removed=items)

    # --- what is stored ----------------------------------------------------------------------------------------------

    def _note(self, items: Iterable[Any]) -> None:
        """Remember items that are stored."""
        self.tools += called(self._stored.note(items))


def step_of(response: ModelResponse, without_effects: Collection[str]) -> list[Any]:
    """What a model answered, if it calls tools that have effects; else nothing.

    Args:
        response: The answer.
        without_effects: Names of tools that may run again without harm.
    """
    calls: list[Any] = [item for item in response.output if _is_call(_kind(item))]
    if all(getattr(call, "name", None) in without_effects for call in calls):
        return []
    return _without_repeated(response.to_input_items())


def mended(items: list[Any], outputs: Mapping[str, Any] | None = None, text: str = INTERRUPTED) -> list[Any]:
    """A turn's items, made valid for the next model call.

    Args:
        items: They may end anywhere.
        outputs: Outputs that are known and not among them, by call id.
        text: The output of calls that have none.
    """
    end = len(items)
    while end and _kind(items[end - 1]) == "reasoning":
        end -= 1
    whole = items[:end]
    known = outputs or {}
    return whole + [known.get(call["call_id"]) or output_of(call, text) for call in open_calls(whole)]


def called(items: Iterable[Any]) -> list[str]:
    """The names of the tools that items call, in order."""
    return [str(item["name"]) for item in items if _kind(item).endswith("_call") and "name" in item]


def _without_repeated(items: Iterable[Any]) -> list[Any]:
    """Items of a response; of calls with the same id, which the SDK runs once, the first."""
    kept: dict[Any, Any] = {}
    for number, item in enumerate(items):
        kept.setdefault(_key(item) or number, item)
    return list(kept.values())


def _key(item: Any) -> tuple[str, str] | None:
    call_id = item.get("call_id") if isinstance(item, dict) else None
    return None if call_id is None else (_kind(item), str(call_id))


def _kind(item: Any) -> str:
    return str((item.get("type") if isinstance(item, dict) else getattr(item, "type", "")) or "")


def _is_call(kind: str) -> bool:
    return kind in OUTPUT_TYPES


def _is_output(kind: str) -> bool:
    return kind.endswith("_output")


def _is_said(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") in ("user", "system", "developer")


def _is_other(item: Any) -> bool:
    return _key(item) is None and not _is_said(item)
