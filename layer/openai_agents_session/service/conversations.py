"""What a caller can do with conversations besides talking: list, page, name, fork, rewind, stop them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from .. import environment
from ..conversations import Conversation, ConversationInfo, HistoryPage, State, Usage, list_conversations
from ..errors import IndexNotFoundError
from ..runs import PendingRuns
from . import durable_runs
from .call import OPTIONS, Call
from .errors import RequestError
from .fitting import LARGE_ITEM_BYTES, MAX_ITEMS_BYTES, shortened, wire_size
from .identity import public_id, stored_id
from .sendable import clean

if TYPE_CHECKING:
    from ..dynamodb import DynamoDBSession

_PAGE_ITEMS = 200


async def list_sessions(call: Call) -> dict[str, Any]:
    """The caller's conversations, newest activity first."""
    if call.owner is None:
        raise RequestError(
            409, "there is no list of conversations that belong to nobody: state an owner", code="no_list"
        )
    options: dict[str, Any] = {"limit": call.request.limit, "cursor": call.request.cursor, "options": OPTIONS}
    table, client = environment.environment.settings.table_name, await environment.environment.client()
    try:
        page = await list_conversations(client, table, call.owner, search=call.request.search or None, **options)
    except IndexNotFoundError as error:
        raise RequestError(409, f"{error}", code="no_list") from error
    return {"sessions": [_told(info) for info in page.conversations], "cursor": page.cursor}


async def read_history(call: Call) -> dict[str, Any]:
    """A page of a conversation's history, and what the conversation is doing."""
    conversation = Conversation(await call.session())
    page = await _page(conversation, call.request.before, call.request.limit)
    items, positions = _shown(page)
    about = _told(page.info) if page.info else {}
    answer = {
        **about,
        "session_id": call.request.session_id,
        "items": items,
        "first": page.first,
        "total": page.total,
        "before": page.before,
        "state": page.state.value,
        "turns": [turn.to_dict() for turn in page.turns],
        "durable": call.settings.durable_function is not None,
        "durable_run": await _is_durable(call, conversation.session, page.state),
    }
    return answer | ({"cut": positions} if positions else {})


async def _is_durable(call: Call, session: DynamoDBSession, state: State) -> bool:
    """Whether what the conversation is doing is a durable run."""
    if call.settings.durable_function is None or state not in (State.RUNNING, State.UNFINISHED):
        return False
    return await durable_runs.is_open(session)


async def _page(conversation: Conversation, before: int | None, limit: int) -> HistoryPage:
    """A page of any length: the library's are of 200 items at the most."""
    budget = MAX_ITEMS_BYTES
    newest = page = await _piece(conversation, before, limit, budget)
    items = page.items
    while page.before and len(items) < limit:
        budget -= sum(map(_shown_size, page.items))
        page = await _piece(conversation, page.before, limit - len(items), max(1, budget))
        if budget <= 0 or sum(map(_shown_size, page.items)) > budget:
            break
        items = page.items + items
    first = (newest.first + len(newest.items)) - len(items)
    return HistoryPage(items, first, newest.total, newest.info, newest.state, newest.turns)


async def _piece(conversation: Conversation, before: int | None, limit: int, max_bytes: int) -> HistoryPage:
    number = min(limit, _PAGE_ITEMS)
    return await conversation.history(before=before, limit=number, max_bytes=max_bytes, size_of=_shown_size)


def _shown_size(item: Any) -> int:
    return min(wire_size(item), LARGE_ITEM_BYTES)


def _shown(page: HistoryPage) -> tuple[list[Any], list[int]]:
    """The items as they are sent, and the positions of those that are cut. One that is alone is sent whole."""
    most = MAX_ITEMS_BYTES if len(page.items) == 1 else LARGE_ITEM_BYTES
    items = clean(page.items)
    large = {number for number, item in enumerate(items) if wire_size(item) > most}
    shown = [shortened(item, most) if number in large else item for number, item in enumerate(items)]
    return shown, [page.first + number for number in sorted(large)]


async def update(call: Call) -> dict[str, Any]:
    """Give a conversation a title, or metadata."""
    return _told(await Conversation(await call.session()).update(**call.request.changes))


async def fork(call: Call) -> dict[str, Any]:
    """Copy the first items into a conversation of its own."""
    copy_id = call.request.copy_id or str(uuid.uuid4())
    options = {"keep": call.request.keep, **call.request.changes}
    return _told(await Conversation(await call.session()).fork(stored_id(copy_id, call.owner), **options))


async def rewind(call: Call) -> dict[str, Any]:
    """Let the first items stay, and remove the rest."""
    session = await call.session()
    run = await PendingRuns(session).get() if call.settings.durable_function else None
    removed = await Conversation(session).rewind(call.request.keep or 0)
    if run is not None and removed:
        await durable_runs.give_up(run)
    return {"session_id": call.request.session_id, "removed": removed}


def usage(turn: Usage, conversation: Conversation) -> dict[str, Any]:
    """What a turn has used, and what its session has used so far."""
    return {"turn": turn.to_dict(), "session": conversation.usage_seen.to_dict()}


def _told(info: ConversationInfo) -> dict[str, Any]:
    """A conversation as its owner knows it."""
    return {
        "session_id": public_id(info.session_id, info.owner),
        "title": info.title,
        "created": info.created,
        "updated_at": info.updated_at,
        "total": info.items,
        "metadata": info.metadata,
        "usage": info.usage.to_dict(),
    }
