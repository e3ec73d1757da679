"""The operator's command, its pure parts: words, files of sessions, some work at a time."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.cli import words
from openai_agents_session.cli.files import Sink
from openai_agents_session.cli.pool import in_order
from openai_agents_session.cli.recognise import head_key
from openai_agents_session.cli.transfer import IncompleteError, TransferError, sessions
from openai_agents_session.cli.views.conversation import folded

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("90s", NOW - 90),
        ("90min", NOW - 5_400),
        ("90m", NOW - 5_400),
        ("2h", NOW - 7_200),
        ("3 d", NOW - 259_200),
        ("1w", NOW - 604_800),
        ("2026-11-25", 1_795_564_800),
        ("2026-11-25T10:30Z", 1_795_602_600),
        ("2026-11-25T10:30+01:00", 1_795_599_000),
    ],
)
def test_a_time_is_an_age_or_a_date_in_utc(text: str, second: int) -> None:
    """What people type for --since."""
    assert words.since(text, NOW) == second


@pytest.mark.parametrize("text", ["", "yesterday", "2", "-1h", "25.11.2026", "9" * 30 + "d", "0000-00-00"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    """The message shows how to say it."""
    with pytest.raises(ValueError, match="2h or 3d"):
        words.since(text, NOW)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30))
def test_a_shell_word_is_printable_and_says_the_text(text: str) -> None:
    """Pasted into bash it is the text; shown, it moves no cursor, in any encoding."""
    for encoding in ("utf-8", "ascii", "cp1252"):
        word = words.shell_word(text, encoding)
        assert words.identity(word) == word
        word.encode(encoding)
        if not word.startswith("$'"):
            assert shlex.split(word) == [text]


def test_a_quoted_word_is_what_bash_reads() -> None:
    """ANSI-C quoting, byte for byte."""
    for text in ("a\tb'\\c\x1b[31m", "zürich\u202e", "new\nline", "\x9b"):
        word = words.shell_word(text, "ascii")
        printed = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout
        assert printed.decode() == text


def test_slots_are_told_from_other_keys() -> None:
    """Only what the library itself would write as a slot's key is one."""
    assert head_key("ada#~7") == "ada"
    assert head_key("ada#~run#~0") == "ada#~run"
    for key in ("ada", "ada#~run", "ada#~07", "ada#~²", "#~", "ada#~" + "9" * 5_000, "ada#~-1"):
        assert head_key(key) is None


def test_folding_says_what_is_left_out() -> None:
    """Few lines and few characters are shown, and how much more there is."""
    assert folded("one\ntwo") == "one\ntwo"
    assert folded("\n".join("abcdefghij"), 6, 100).endswith("… 4 more lines (--full)")
    assert folded("x" * 1_000, 6, 100).endswith("900 more characters (--full)")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"exported": 7}', TransferError),
        ('{"exported": {"sessions": 1, "items": 0}}', IncompleteError),
        ('{"session_id": "a", "session": {"items": -1}}', TransferError),
        ('{"session_id": "a", "session": {"items": 1e3}}', TransferError),
        ('{"session_id": "a", "session": {"items": 0, "ttl": "soon"}}', TransferError),
        ('{"session_id": "a", "session": {"items": 0, "owner": 7}}', TransferError),
        ('{"session_id": "a", "session": null}', TransferError),
        ('{"session_id": "a", "session": {"items": 1}}\n{"session_id": "b", "item": {}}', TransferError),
        ('{"session_id": "a", "session": {"items": 1}}', IncompleteError),
        ('{"session_id": "a", "session": {"items": 0}}', IncompleteError),
        ("[]", TransferError),
        ("7", TransferError),
        ('{"session_id": 7, "session": {}}', TransferError),
    ],
)
def test_what_is_no_file_of_sessions_is_refused(text: str, error: type[TransferError]) -> None:
    """With the line, and told apart from what is only incomplete."""
    with pytest.raises(error) as refused:
        list(sessions(text.splitlines()))
    assert isinstance(refused.value, IncompleteError) == (error is IncompleteError)


# --- some at a time --------------------------------------------------------------------------------------------------


async def test_work_is_done_some_at_a_time_and_told_in_order() -> None:
    """However long each takes, no more are under way than may be, and the order is that given."""
    running = most = 0

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (number % 3))
        running -= 1
        return number

    assert [made async for made in in_order(range(50), work, 4)] == list(range(50))
    assert most == 4


async def test_what_fails_while_it_is_drawn_is_raised_after_what_was_drawn_before() -> None:
    """A file that turns out to be cut off: the sessions before that are stored."""

    def given() -> Iterator[int]:
        yield from range(5)
        raise TransferError("cut off")

    async def work(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    made: list[int] = []

    async def take() -> None:
        async for one in in_order(given(), work, 8):
            made.append(one)  # noqa: PERF401 - what was made before the error counts

    with pytest.raises(TransferError):
        await take()
    assert made == list(range(5))


async def test_what_is_under_way_ends_with_who_waits_for_it() -> None:
    """Nothing goes on in the background after an error or an interruption."""
    ended: list[int] = []

    async def work(number: int) -> int:
        try:
            await asyncio.sleep(0 if number == 0 else 60)
        finally:
            ended.append(number)
        return number

    async with aclosing(in_order(range(100), work, 8)) as made:
        assert await anext(made) == 0
    assert sorted(ended) == list(range(8))


# --- files -----------------------------------------------------------------------------------------------------------


def test_two_exports_to_one_file_do_not_mix(tmp_path: Path) -> None:
    """The second is refused; what the first writes is whole."""
    path = tmp_path / "sessions"
    first = Sink(path)
    first.write(["one"])
    with pytest.raises(TransferError, match="another export"):
        Sink(path)
    first.write(["two"])
    first.done()
    first.close(keep=False)
    assert path.read_text() == "one\ntwo\n"
    again = Sink(path)
    again.write(["three"])
    again.close(keep=True)
    assert (path.read_text(), path.with_name("sessions.part").read_text()) == ("one\ntwo\n", "three\n")
