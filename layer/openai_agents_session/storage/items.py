"""Runs of conversation items as JSON text, and their packed form.

Items are kept as the text of a JSON list: appending joins texts, and nothing is parsed or printed again on the way.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import InvalidInputError, InvalidItemError
from .record import DamagedRecordError

NESTING_LIMIT = 500
"""How deep an item's lists and objects may nest: less than any supported Python reads back."""

BATCH_LIMIT_BYTES = 48 * 1024 * 1024
"""Most JSON text of one batch, in bytes. A history may be of any length; a batch is read and written in one piece."""

RUN_LIMIT_BYTES = 64 * 1024 * 1024
"""Most JSON text that one stored run of items inflates to, in bytes. Deflate packs up to a thousand times: without a
bound an item of 400 KB could fill the memory of its reader."""

_VALUE_BYTES = 100
_MEMORY_LIMIT_BYTES = 384 * 1024 * 1024

_RAW, _DEFLATE_1 = 0, 1
_HEADER_BYTES = 5

# Deflate with this preset finds the SDK's own field names and common English without first having seen them: a 200 byte
# question packs to two thirds of what it would without. It is part of the stored format: never change it, add another.
_DICTIONARY_1 = (
    b" about after again all also always an and any are as at be because been before being between both but by can "
    b"could different does each even every example find first for from function get give good had has have her here "
    b"high how however if important in information into is it its just know large like line long look made make many "
    b"may more most much must need new next no not now number of on one only or other our out over part people place "
    b"please point possible question result right same say see should show small so some such system take than that "
    b"the their them then there these they thing think this those through time to two under up use used user using "
    b"value very want was way we well were what when where which while who will with without work world would year "
    b"you your https://www. http:// .com/ true false null error date name title description "
    b'{"type":"reasoning","summary":[],"encrypted_content":"gAAAAA","content":[{"type":"input_text","text":"'
    b'{"type":"input_image","detail":"auto","image_url":"data:image/png;base64,'
    b'"arguments":"{\\"query\\":\\"","call_id":"call_","name":"","type":"function_call","id":"fc_","status":"completed"},'
    b'{"call_id":"call_","output":"","type":"function_call_output"},{"content":"","role":"user"},{"role":"user","content":"'
    b'{"id":"rs_","summary":[],"type":"reasoning"},{"id":"msg_","type":"message","role":"assistant","status":"completed",'
    b'"content":[{"type":"output_text","text":"","annotations":[],"logprobs":[]}]},'
    b'{"id":"msg_","content":[{"annotations":[],"text":"","type":"output_text","logprobs":[]}],"role":"assistant",'
    b'"status":"completed","type":"message"},{"content":"","role":"user"}'
)


@dataclass(frozen=True)
class Items:
    """A run of conversation items.

    Attributes:
        text: The UTF-8 text of a JSON list without surrounding white space.
        count: How many items it has.
    """

    text: bytes
    count: int

    def __add__(self, other: Items) -> Items:
        if not self.count:
            return other
        if not other.count:
            return self
        return Items(self.text[:-1] + b"," + other.text[1:], self.count + other.count)

    def decode(self) -> list[Any]:
        """The items as fresh Python values, in order.

        Raises:
            DamagedRecordError: The text is not a JSON list of so many items.
        """
        items = values_in(self.text)
        if len(items) != self.count:
            raise DamagedRecordError(f"it holds {len(items)} items where {self.count} were written")
        return items

    def first(self, count: int) -> Items:
        """The first ``count`` items."""
        return self if count >= self.count else from_values(self.decode()[:count])

    @cached_property
    def deflated(self) -> bytes:
        """Packed with compression (or without, where compression does not help)."""
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY_1)
        body = compressor.compress(self.text) + compressor.flush()
        return _packed(_DEFLATE_1, body) if len(body) < len(self.text) else self.stored

    @cached_property
    def stored(self) -> bytes:
        """Packed without compression."""
        return _packed(_RAW, self.text)

    def packed(self, *, compress: bool) -> bytes:
        """The binary form: a codec byte, a CRC-32 of the rest, the text or its deflated form."""
        return self.deflated if compress else self.stored


NOTHING = Items(b"[]", 0)


def _packed(codec: int, body: bytes) -> bytes:
    return bytes([codec]) + zlib.crc32(body).to_bytes(4, "big") + body


def unpack(packed: bytes) -> bytes:
    """The JSON text that ``Items.packed`` packed.

    Raises:
        DamagedRecordError: The bytes are not what was written, or inflate to more than ``RUN_LIMIT_BYTES``.
    """
    body = packed[_HEADER_BYTES:]
    if len(packed) < _HEADER_BYTES or zlib.crc32(body).to_bytes(4, "big") != packed[1:_HEADER_BYTES]:
        raise DamagedRecordError("checksum mismatch")
    if packed[0] == _RAW:
        return body
    if packed[0] == _DEFLATE_1:
        return _inflated(body)
    raise DamagedRecordError(f"codec {packed[0]} is not one this version knows")


def _inflated(body: bytes) -> bytes:
    stream = zlib.decompressobj(-15, _DICTIONARY_1)
    try:
        text = stream.decompress(body, RUN_LIMIT_BYTES + 1)
    except zlib.error as error:
        raise DamagedRecordError(str(error)) from error
    if len(text) > RUN_LIMIT_BYTES:
        raise DamagedRecordError(f"it inflates to more than {RUN_LIMIT_BYTES >> 20} MB")
    if not stream.eof:
        raise DamagedRecordError("its compressed data ends too early")
    return text


def values_in(text: bytes) -> list[Any]:
    """The values of a JSON list.

    Raises:
        DamagedRecordError: The text is not one, or its values need more memory than a reader should give.
    """
    if _memory(text) > _MEMORY_LIMIT_BYTES:
        raise DamagedRecordError(f"its values need more than {_MEMORY_LIMIT_BYTES >> 20} MB of memory")
    try:
        try:
            values = json.loads(text.decode())
        except RecursionError:  # the caller's own depth counts, too (Python 3.11): a thread begins with none
            values = _on_a_fresh_stack(text.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedRecordError(f"it is not JSON: {error}") from error
    if not isinstance(values, list):
        raise DamagedRecordError("it is not a JSON list")
    return values


def _memory(text: bytes) -> int:
    """About how many bytes of memory a JSON text, decoded, and its values need at most."""
    return 2 * _width(text) * len(text) + _VALUE_BYTES * (text.count(b",") + text.count(b"[") + text.count(b"{"))


def _width(text: bytes) -> int:
    """How many bytes Python takes for a character of strings that hold the text: of the widest that is in it."""
    if text.isascii():
        return 1
    return 4 if any(lead in text for lead in (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")) else 2


def _on_a_fresh_stack(text: str) -> Any:
    outcome: list[Any] = []

    def parse() -> None:
        try:
            outcome.append(json.loads(text))
        except (ValueError, RecursionError) as error:
            outcome.append(error)

    thread = threading.Thread(target=parse, name="deeply nested JSON")
    thread.start()
    thread.join()
    (result,) = outcome
    if isinstance(result, Exception):
        raise result
    return result


def fits_one_run(items: Items) -> bool:
    """Whether a run of items can be read back in one piece."""
    return len(items.text) <= RUN_LIMIT_BYTES and _memory(items.text) <= _MEMORY_LIMIT_BYTES


def from_values(values: Iterable[Any]) -> Items:
    """Items from Python values that came from JSON, as Python reads it: the reference library stores NaN, too."""
    return _join([_dump(value, allow_nan=True) for value in values])


def from_json(text: str) -> Items:
    """Items from a JSON list that somebody else may have written.

    Raises:
        DamagedRecordError: When it is not a JSON list.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair has no UTF-8 form: print it again, escaped
        data = json.dumps(json.loads(text)).encode() if _is_json(text) else b""
    values = values_in(data)
    if not values:
        return NOTHING
    return Items(data.strip(), len(values))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def from_batch(session_id: str, batch: Any) -> Items:
    """Items from what a caller handed to ``add_items``.

    Pydantic models are dumped in JSON mode, as the reference library does.

    Raises:
        InvalidInputError: When the batch is not a list or tuple.
        InvalidItemError: When an item is not a JSON object.
    """
    if not isinstance(batch, (list, tuple)):
        raise InvalidInputError(
            f"session {session_id!r}: items must be a list of JSON objects, not {type(batch).__name__}"
        )
    items = _join([_item_text(session_id, index, item) for index, item in enumerate(batch)])
    return checked_size(session_id, items)


def fits_one_batch(batch: Items) -> bool:
    """Whether a batch can be read back in one piece, also behind what a head may hold before it."""
    return len(batch.text) <= BATCH_LIMIT_BYTES and _memory(batch.text) <= _MEMORY_LIMIT_BYTES // 2


def checked_size(session_id: str, batch: Items) -> Items:
    """A batch, if it can be read back in one piece.

    Raises:
        InvalidInputError: It cannot.
    """
    if not fits_one_batch(batch):
        raise InvalidInputError(
            f"session {session_id!r}: the batch is too large to be read back in one piece: {len(batch.text)} bytes of "
            f"JSON, where {BATCH_LIMIT_BYTES} are the most. Add its items in smaller batches."
        )
    return batch


def _join(texts: Sequence[bytes]) -> Items:
    return Items(b"[" + b",".join(texts) + b"]", len(texts))


def _item_text(session_id: str, index: int, item: Any) -> bytes:
    text = None
    try:
        value = item.model_dump(mode="json") if hasattr(item, "model_dump") else item
        if isinstance(value, dict):
            text = _dump(value, allow_nan=False)
    except Exception as error:
        raise InvalidItemError(f"session {session_id!r}: item {index} is not JSON: {error}", index=index) from error
    if text is None:
        raise InvalidItemError(
            f"session {session_id!r}: item {index} is a {type(item).__name__}, not a JSON object (dict)", index=index
        )
    _check_structure(session_id, index, value)
    return text


def _check_structure(session_id: str, index: int, item: Any) -> None:
    """Refuse what JSON takes without an error and does not give back: keys that become one, nesting without end."""
    level = [item]
    for _ in range(NESTING_LIMIT):
        if any(isinstance(value, dict) and _has_clashing_keys(value) for value in level):
            raise InvalidItemError(
                f"session {session_id!r}: item {index} has keys that are the same in JSON, such as 1 and '1'",
                index=index,
            )
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, (dict, list, tuple))
        ]
        if not level:
            return
    raise InvalidItemError(
        f"session {session_id!r}: item {index} nests deeper than {NESTING_LIMIT} levels", index=index
    )


def _has_clashing_keys(value: dict[Any, Any]) -> bool:
    if all(type(key) is str for key in value):
        return False
    names: dict[str, Any] = json.loads(json.dumps(dict.fromkeys(value, 0)))
    return len(names) != len(value)


def _dump(value: Any, *, allow_nan: bool) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; JSON's own escape keeps it
        return json.dumps(value, separators=(",", ":"), allow_nan=allow_nan).encode()
