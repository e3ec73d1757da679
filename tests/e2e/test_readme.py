"""The README does what it says."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"(?P<mark><!-- needs: [^>]+ -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
BLOCKS = [match.groupdict() for match in BLOCK.finditer(README)]

# Each of these is what another test, or CI itself, runs.
RUN_ELSEWHERE = {"make demo": "test_local_commands.py", "make test": "the run that this test is part of"}


def blocks(language: str) -> list[str]:
    return [block["code"] for block in BLOCKS if block["language"] == language and not block["mark"]]


@pytest.mark.parametrize("code", blocks("bash"))
def test_a_shell_block_runs_or_is_marked(code: str, tmp_path: Path) -> None:
    for command in filter(None, map(str.strip, code.splitlines())):
        if command in RUN_ELSEWHERE:
            target = command.removeprefix("make ")
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        else:
            assert command == "pip install ./layer"
            wheel = subprocess.run(
                [ROOT / ".work/bootstrap/bin/uv", "build", "--wheel", "--quiet", "--out-dir", tmp_path, ROOT / "layer"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert wheel.returncode == 0, wheel.stderr
            assert list(tmp_path.glob("openai_agents_session_layer-*.whl"))


def test_the_handler_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(code for code in blocks("python") if "def handler" in code)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - the README's own code

    class Session:
        pass

    async def open_session(session_id: str) -> Session:
        assert session_id == "ada"
        return Session()

    class Runner:
        @staticmethod
        async def run(agent: Any, message: str, *, session: Session) -> Any:
            assert (agent.name, message) == ("Assistant", "Hello")
            return type("Result", (), {"final_output": "Hi"})

    names |= {"open_session": open_session, "Runner": Runner}
    assert names["handler"]({"session_id": "ada", "message": "Hello"}, None) == "Hi"


async def test_the_library_block_runs(client: Any, table: str) -> None:
    code = next(code for code in blocks("python") if "create_table_if_not_exists" in code)
    names: dict[str, Any] = {"dynamodb_client": client}
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(compiled, names)  # noqa: S307 - the README's own code


def test_every_python_block_is_one_of_those() -> None:
    assert len(blocks("python")) == 2


def test_every_parameter_of_the_template_is_listed() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    template = yaml.load((ROOT / "template.yaml").read_text(), Loader)  # noqa: S506 - a SafeLoader
    section = README.split("### Parameters of the template")[1].split("\n## ")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))
    defaults = {name: str(spec.get("Default", "")) for name, spec in template["Parameters"].items()}
    assert {name: default.strip("`") for name, default in listed.items()} == defaults


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
