"""Runs of conversation items as JSON text, and their packed form.

Items are kept as the text of a JSON list: appending joins texts, and nothing is parsed or printed again on the way.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import InvalidInputError, InvalidItemError
from .record import DamagedRecordError

NESTING_LIMIT = 500
"""How deep an item's lists and objects may nest: less than any supported Python reads back, wherever it is called."""

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
        """The items as fresh Python values, in order."""
        items: list[Any] = json.loads(self.text)
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


def unpack(packed: bytes, count: int) -> Items:
    """The items that ``Items.packed`` packed.

    Args:
        packed: What was stored.
        count: How many items it should have.

    Raises:
        DamagedRecordError: When the bytes are not what was written.
    """
    body = packed[_HEADER_BYTES:]
    if len(packed) < _HEADER_BYTES or zlib.crc32(body).to_bytes(4, "big") != packed[1:_HEADER_BYTES]:
        raise DamagedRecordError("checksum mismatch")
    if packed[0] == _RAW:
        return Items(body, count)
    if packed[0] == _DEFLATE_1:
        try:
            return Items(zlib.decompressobj(-15, _DICTIONARY_1).decompress(body), count)
        except zlib.error as error:
            raise DamagedRecordError(str(error)) from error
    raise DamagedRecordError(f"codec {packed[0]} is not one this version knows")


def from_values(values: Iterable[Any]) -> Items:
    """Items from Python values that came from JSON, as Python reads it: the reference library stores NaN, too."""
    return _join([_dump(value, allow_nan=True) for value in values])


def from_json(text: str) -> Items:
    """Items from a JSON list that somebody else may have written.

    Raises:
        DamagedRecordError: When it is not a JSON list.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRecordError(f"conversation_data is not JSON: {error}") from error
    if not isinstance(values, list):
        raise DamagedRecordError("conversation_data is not a JSON list")
    if not values:
        return NOTHING
    stripped = text.strip()
    try:
        return Items(stripped.encode(), len(values))
    except UnicodeEncodeError:  # a lone surrogate: print it again, escaped
        return from_values(values)


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
    return _join([_item_text(session_id, index, item) for index, item in enumerate(batch)])


def _join(texts: Sequence[bytes]) -> Items:
    return Items(b"[" + b",".join(texts) + b"]", len(texts))


def _item_text(session_id: str, index: int, item: Any) -> bytes:
    text = None
    try:
        value = item.model_dump(mode="json") if hasattr(item, "model_dump") else item
        if isinstance(value, dict):
            text = _dump(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidItemError(f"session {session_id!r}: item {index} is not JSON: {error}", index=index) from error
    if text is None:
        raise InvalidItemError(
            f"session {session_id!r}: item {index} is a {type(item).__name__}, not a JSON object (dict)", index=index
        )
    if text.count(b"[") + text.count(b"{") > NESTING_LIMIT and _is_nested_deeper(value, NESTING_LIMIT):
        raise InvalidItemError(
            f"session {session_id!r}: item {index} nests deeper than {NESTING_LIMIT} levels", index=index
        )
    return text


def _is_nested_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        containers = [member for member in level if isinstance(member, (dict, list, tuple))]
        if not containers:
            return False
        level = [child for each in containers for child in (each.values() if isinstance(each, dict) else each)]
    return True


def _dump(value: Any, *, allow_nan: bool) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; JSON's own escape keeps it
        return json.dumps(value, separators=(",", ":"), allow_nan=allow_nan).encode()
