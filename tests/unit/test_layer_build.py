"""Building a layer: two at once, one that was killed, and an interpreter that is not there."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import environment, interpreters
from tools.layers import assemble, build, functions
from tools.layers.assemble import Target


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for built layers, with a layer of two files in the place of the real one."""
    monkeypatch.setattr(build, "CACHE", tmp_path)
    monkeypatch.setattr(build, "_KEPT", tmp_path / ".kept")
    monkeypatch.setattr(build, "_hash", lambda *_: "0" * 16)
    monkeypatch.setattr(assemble, "add_packages", lambda _, tree: write(tree / "package.py"))
    monkeypatch.setattr(assemble, "add_library", lambda _, tree: write(tree / "library.py"))
    return tmp_path


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content" * 100_000)


def at_once(number: int, work: Callable[[], object]) -> list[int | None]:
    """Exit codes of so many processes that do the same."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work) for _ in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_many_first_builds_at_once_all_succeed(cache: Path) -> None:
    assert at_once(6, lambda: build.archive(Target())) == [0] * 6
    assert (cache / Target().name / "layer.zip").exists()


def test_what_a_killed_build_left_behind_is_removed_by_the_next(cache: Path) -> None:
    write(cache / ".kept" / "unfinished-x" / "python" / "package.py")
    build.build(Target())
    assert not list((cache / ".kept").glob("unfinished-*"))


@pytest.fixture
def only_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one interpreter, on which nothing can be fetched."""
    version, path = [*interpreters.installed().items()][-1]
    monkeypatch.setattr(interpreters, "find", {version: path}.get)
    monkeypatch.setattr(environment, "_fetch", lambda _: None)


@pytest.mark.usefixtures("only_the_oldest")
def test_a_layer_is_not_built_without_bytecode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CACHE", tmp_path)
    monkeypatch.setattr(build, "_KEPT", tmp_path / ".kept")
    with pytest.raises(assemble.BuildError, match=r"Put python3\.14 on PATH, or build for .* here \(3\.1\d\)"):
        build.build(Target(python="3.14"))
    assert not list((tmp_path / ".kept").iterdir()), "it is refused before anything is downloaded"


@pytest.mark.usefixtures("only_the_oldest")
def test_a_function_is_not_built_without_bytecode(tmp_path: Path) -> None:
    with pytest.raises(assemble.BuildError, match="nor could it be fetched"):
        functions.make(build.ROOT / "functions" / "agent", tmp_path, Target(python="3.14"))


def test_an_interpreter_that_is_missing_is_fetched_with_the_installer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = tmp_path / "uv"
    installer.write_text(FETCHES)
    installer.chmod(0o755)
    monkeypatch.setattr(environment, "UV", installer)
    monkeypatch.setattr(environment, "bootstrap", lambda: None)
    monkeypatch.setattr(interpreters, "FETCHED", tmp_path / "python")
    assert assemble.interpreter_of("3.99") == tmp_path / "python/cpython/bin/python3.99"


# Called as `uv python install --quiet --no-bin --install-dir FOLDER 3.99`.
FETCHES = """#!/bin/sh
mkdir -p "$6/cpython/bin"
interpreter="$6/cpython/bin/python$7"
printf '#!/bin/sh\\necho "%s" "%s.0"\\n' "$interpreter" "$7" > "$interpreter"
chmod +x "$interpreter"
"""


def test_a_python_that_is_too_old_to_build_with_is_told_so(tmp_path: Path) -> None:
    program = "import sys; sys.version_info = (3, 9, 18); sys.argv[0] = sys.argv[1]; exec(open(sys.argv[1]).read())"
    builder = str(build.ROOT / "tools" / "build_layer.py")
    command = [sys.executable, "-c", f"__file__ = {builder!r}; {program}", builder]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, cwd=tmp_path)
    assert ended.returncode == 1
    assert "is Python 3.9; the builder needs 3.11 or newer" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_documentation_names_the_zip_that_is_built() -> None:
    archive = build.CACHE / Target().name / "layer.zip"
    text = (build.ROOT / "docs" / "attach.md").read_text()
    assert f"--zip-file fileb://{archive.relative_to(build.ROOT)} " in text
