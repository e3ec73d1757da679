"""docs/conversations.md shows what its code prints: its blocks are run in their order, as one program."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.emulation.engines import Engine

pytestmark = pytest.mark.one_engine

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conversations.md"
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<shown>.*?)```", re.DOTALL)


async def test_the_code_prints_what_the_document_shows(
    start_engine: Callable[[str], Engine], connect: Callable[..., Any]
) -> None:
    """Each block of code prints exactly the text below it."""
    client = await connect(start_engine("dynoxide").endpoint_url)
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        await client.delete_table(TableName="agent-sessions")  # which other examples have, too
    names: dict[str, Any] = {"client": client}
    blocks = list(BLOCK.finditer(DOCUMENT.read_text()))
    assert len(blocks) == DOCUMENT.read_text().count("```python")
    try:
        for block in blocks:
            printed = io.StringIO()
            code = compile(block["code"], str(DOCUMENT), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with contextlib.redirect_stdout(printed):
                running = eval(code, names)  # noqa: S307 - the document's own code
                if inspect.iscoroutine(running):
                    await running
            assert printed.getvalue() == block["shown"]
    finally:
        await client.delete_table(TableName="agent-sessions")
