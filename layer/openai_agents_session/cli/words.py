"""Words for values: sizes, times, numbers, ids. Pure."""

from __future__ import annotations

import re
import shlex
import unicodedata
from datetime import UTC, datetime

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}


def printable(text: str) -> str:
    """Text without what would move the cursor, change colours or reorder lines: strangers wrote the history."""
    if text.isprintable():
        return text
    return "\n".join(line if line.isprintable() else _without_controls(line) for line in text.split("\n"))


def _without_controls(line: str) -> str:
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_control(character) else character for character in line)


def identity(text: str) -> str:
    """An id on one line: line ends and tabs are controls too where a line is one entry."""
    return printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}").replace("\t", "\N{REPLACEMENT CHARACTER}")


def _is_control(character: str) -> bool:
    # Joiners make emoji and several scripts; the other formatting characters can reorder what is shown.
    allowed = character in "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
    return not allowed and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def size(count: int) -> str:
    """Bytes, for people."""
    if count < 1024:
        return f"{count} B"
    if count < 1024 * 1024:
        return f"{count / 1024:.1f} KB"
    return f"{count / 1024 / 1024:.1f} MB"


def moment(second: int) -> str:
    """A Unix second, in UTC."""
    try:
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"second {second}"


def span(seconds: int) -> str:
    """A length of time, roughly."""
    seconds = abs(seconds)
    for unit, length in _UNITS:
        if seconds >= length * 0.99:
            return f"{round(seconds / length)} {unit}"
    return "0 s"


def ago(second: int, now: int) -> str:
    """How long ago it was."""
    return f"{span(now - second)} ago" if second <= now else f"in {span(second - now)}"


def many(count: int, word: str) -> str:
    """A number with its noun."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def since(text: str, now: int) -> int:
    """The Unix second that somebody means: ``90min``, ``2h``, ``3d`` before now, or a date or time, UTC unless it says.

    Raises:
        ValueError: It is neither.
    """
    if match := re.fullmatch(r"(\d{1,9})\s*(s|min|m|h|d|w)", text.strip()):
        return now - int(match[1]) * _SECONDS[match[2]]
    try:
        point = datetime.fromisoformat(text.strip())
        return int((point if point.tzinfo else point.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text!r} is not a time: give an age such as 90min, 2h or 3d, or a date such as 2026-11-25 or "
            "2026-11-25T10:30Z"
        ) from error


def shell_word(text: str, encoding: str = "utf-8") -> str:
    """Text as one word for bash or zsh, that can be shown anywhere and pasted.

    Args:
        text: The text.
        encoding: Of the terminal that shows it.
    """
    if is_showable(text, encoding):
        return shlex.quote(text)
    return "$'" + "".join(_quoted(byte) for byte in text.encode("utf-8", "surrogateescape")) + "'"


def is_showable(text: str, encoding: str) -> bool:
    """Whether text can be shown as it is, on one line, in an encoding."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return identity(text) == text


def _quoted(byte: int) -> str:
    character = chr(byte)
    return character if 0x20 <= byte < 0x7F and character not in "'\\" else f"\\x{byte:02x}"
