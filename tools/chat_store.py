"""Where `make chat` and `make page` keep the table's items between two runs: a file each, one JSON object a line."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tools.emulation import rie
from tools.local_stack import Item

STORE = rie.ROOT / ".work" / "chat.jsonl"


@contextmanager
def claimed(path: Path, session_id: str = "") -> Iterator[Path]:
    """A store that is this program's alone for the time of a with-block: two programs would overwrite each other's.

    Args:
        path: The store to take if it is free; otherwise the first free one of chat-2.jsonl, chat-3.jsonl, ...
        session_id: A free one that knows this session comes before one that doesn't.

    Yields:
        The store's path. The file need not exist.
    """
    free: dict[Path, IO[str]] = {}
    for candidate in _numbered(path):
        if lock := _lock(candidate):
            free[candidate] = lock
        if free and not candidate.exists():
            break
    knowing = (candidate for candidate in free if session_id in _sessions(candidate))
    chosen = next(knowing, next(iter(free)))
    for candidate, lock in free.items():
        if candidate != chosen:
            lock.close()
    with free[chosen]:
        yield chosen


def save(items: list[Item], path: Path) -> None:
    """Write a table's items to a file, all of them or none."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as lines:
        for item in items:
            lines.write(json.dumps(item, default=_encode_bytes, ensure_ascii=False) + "\n")
    fresh.replace(path)


def load(path: Path) -> list[Item]:
    """Read the items that `save` wrote; none if it never did."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line, object_hook=_decode_bytes) for line in lines]


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))


def _lock(path: Path) -> IO[str] | None:
    """A lock that ends with this process, however it ends; None if another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


def _sessions(path: Path) -> set[str]:
    return {item["session_id"]["S"] for item in load(path)}


def _encode_bytes(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _decode_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
