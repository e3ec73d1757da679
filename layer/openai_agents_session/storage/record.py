"""Compact binary records: variable-length integers and bytes, closed by a checksum.

A head is rewritten at every append and paid for by the KB, so what it carries beside the conversation must be small.
"""

from __future__ import annotations

import zlib

_NUMBER_BITS = 63
"""No number that the library writes is longer. Without a bound a crafted record could name one of a million digits."""


LARGEST_NUMBER = 1 << 53
"""What counts writes stays below: at a thousand writes a second that lasts for 285,000 years."""


class DamagedRecordError(ValueError):
    """The bytes are not what was written."""


class UnknownFormatError(DamagedRecordError):
    """A newer version of the library wrote them: nothing is damaged, and only that version may change it."""


class RecordWriter:
    """Collects fields; ``seal()`` closes the record with its CRC-32."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def number(self, value: int) -> None:
        """Append a non-negative integer, seven bits a byte (LEB128)."""
        if value < 0:
            raise ValueError(f"{value} is negative")
        while value > 0x7F:
            self._bytes.append(value & 0x7F | 0x80)
            value >>= 7
        self._bytes.append(value)

    def raw(self, value: bytes) -> None:
        """Append bytes whose length the reader knows."""
        self._bytes += value

    def seal(self) -> bytes:
        """The finished record."""
        return bytes(self._bytes) + zlib.crc32(self._bytes).to_bytes(4, "big")


class RecordReader:
    """Reads the fields back in the order they were written."""

    def __init__(self, record: bytes) -> None:
        self._body, checksum = record[:-4], record[-4:]
        self._at = 0
        if len(record) < 4 or zlib.crc32(self._body).to_bytes(4, "big") != checksum:
            raise DamagedRecordError("checksum mismatch")

    @property
    def is_at_end(self) -> bool:
        """Whether there is no further field."""
        return self._at == len(self._body)

    def number(self) -> int:
        """The next field, an integer."""
        value = shift = 0
        while shift < _NUMBER_BITS:
            if self._at == len(self._body):
                raise DamagedRecordError("record ends too early")
            byte = self._body[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise DamagedRecordError(f"a number is longer than {_NUMBER_BITS} bits")

    def raw(self, length: int) -> bytes:
        """The next field, so many bytes."""
        end = self._at + length
        if end > len(self._body):
            raise DamagedRecordError("record ends too early")
        piece, self._at = self._body[self._at : end], end
        return piece


def number_bytes(value: int) -> int:
    """How many bytes a number takes in a record."""
    return max(1, -(-value.bit_length() // 7))
