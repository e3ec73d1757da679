"""The README does what it says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.emulation.engines import Engine

pytestmark = pytest.mark.one_engine

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


def test_the_library_block_is_a_program_that_runs_and_runs_again(engine: Engine, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    code = next(code for code in blocks("python") if "create_table_if_not_exists" in code)
    program.write_text(code.replace("user-42", f"user-{uuid.uuid4()}"))  # other examples have that session, too
    aws = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}
    variables = os.environ | aws | {"AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint_url}
    for runs in (1, 2):
        ended = subprocess.run(
            [sys.executable, program], capture_output=True, text=True, check=False, env=variables, timeout=60
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ast.literal_eval(ended.stdout) == [{"role": "user", "content": "Hello"}] * runs


def test_every_python_block_is_one_of_those() -> None:
    assert len(blocks("python")) == 2


def template() -> Any:
    """The stack's template, without what its functions stand for."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    return yaml.load((ROOT / "template.yaml").read_text(), Loader)  # noqa: S506 - a SafeLoader


def test_every_parameter_of_the_template_is_listed() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    section = page.split("## Parameters of the template")[1].split("\n## ")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))
    defaults = {name: str(spec.get("Default", "")) for name, spec in template()["Parameters"].items()}
    assert {name: default.strip("`") for name, default in listed.items()} == defaults


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_costs_are_those_that_were_measured_for_every_contender() -> None:
    measured = (ROOT / "docs" / "bench.md").read_text()
    section = README.split("## What it costs")[1].split("A turn is 3 requests")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "$" not in line]
    costs = [row[1:] for row in rows if len(row) == 5 and row[1].strip("-") and "turns" not in row[1]]
    assert len(costs) == 8, "ours twice, the reference, each peer as it comes and compressed, the floor"
    for figures in costs:
        for figure in figures:
            wanted = figure.replace("fails", "ends")
            assert re.search(rf"(?<![\d,]){re.escape(wanted)}(?![\d,])", measured), figure


LAMBDAS_OWN = ("AWS_LAMBDA", "AWS_ACCESS", "AWS_SECRET", "AWS_SESSION", "AWS_REGION", "AWS_DEFAULT", "_X_AMZN")


def test_every_route_and_setting_of_the_agent_is_listed() -> None:
    page = (ROOT / "docs" / "agent.md").read_text()
    resources = template()["Resources"].values()
    routes = {each["Properties"]["RouteKey"] for each in resources if each["Type"] == "AWS::ApiGatewayV2::Route"}
    assert {route for route in routes if f"`{route}" not in page} == set()
    read = re.compile(r"""(?:get|_flag|_seconds)\((?:variables, )?"([A-Z_]{6,})""")
    sources = "".join(path.read_text() for path in (ROOT / "layer" / "openai_agents_session" / "service").glob("*.py"))
    section = page.split("## Settings")[1].split("\n## ")[0]
    ours = {name for name in read.findall(sources) if not name.startswith(LAMBDAS_OWN)}
    assert len(ours) > 8
    assert {name for name in ours if f"`{name}`" not in section} == set()


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.name)
def test_every_link_of_the_documentation_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_nobody_is_told_to_install_from_a_registry_what_is_not_there() -> None:
    """Until the distribution is published, anybody could register its name: it is installed from its source."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.md", "*.py", "*.toml"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    install = re.compile(r"(pip|uv|pipx)\s+(pip\s+)?install[^\n]*openai-agents-session-layer(?!\])")
    wrong = [name for name in filter(None, listed) if install.search((ROOT / name).read_text())]
    assert wrong == []
