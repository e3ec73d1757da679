"""The documentation: its examples run, its reference is complete, and the site of it has no loose end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.support.agent import agent_stage, stage_on
from tests.support.browser import browser, missing
from tools.emulation.engines import Engine
from tools.layers.assemble import ROOT
from tools.page import serving

pytestmark = pytest.mark.one_engine

DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PYTHON = ROOT / ".work" / "envs" / "docs" / "bin" / "python"

SAID = {
    "library.py": "'content': 'Hello'",
    "notebook.py": "Seven lamps are left.\nYou asked about lamps.\n",
    "turn.py": "stopped in 28 s at the latest\nbusy for at most 30 s\nGood morning.\n",
    "approval.py": "The money is on its way.\n",
    "observer.py": "'write': 1.0",
    "errors.py": "not bob's\n",
    "durable.py": 'waits: issue_refund {"order":"A-17","amount":25}\nThe money is on its way.\n',
    "service.py": "Again!\n",
}
PUBLIC = (
    "",
    ".environment",
    ".turns",
    ".runs",
    ".conversations",
    ".service",
    ".durable",
    ".options",
    ".events",
    ".errors",
)
"""The modules that people import, below the package's name."""

FITTED = (".", "api/sessions", "http", "comparison", "configuration", "bench", "design", "project/contributing")

NO_BROWSER = missing() is not None and os.environ.get("CI") != "true"  # in CI the browser itself says so

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs ARGS=--build` makes it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "tools.site", "--build", "--out", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def example(name: str, engine: Engine, *arguments: str | Path) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env=os.environ | AWS | {"AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint_url, "OPENAI_AGENTS_DISABLE_TRACING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs(name: str, engine: Engine) -> None:
    """Each example of the documentation is a program that does on an engine what its page says."""
    assert SAID[name] in example(name, engine)


def test_no_example_is_left_out() -> None:
    """A new example has a test."""
    others = {"move.py", "bedrock.py", "clerk.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAID) | others


def test_a_session_of_another_kind_moves_once(engine: Engine, tmp_path: Path) -> None:
    """The program that moves SQLite's sessions copies each one whole, and none twice."""
    name = f"moved-{engine.name}-{tmp_path.name}"
    filled = (
        "import asyncio, sys; from agents import SQLiteSession\n"
        "asyncio.run(SQLiteSession(sys.argv[2], sys.argv[1]).add_items([{'role': 'user', 'content': 'Hi'}] * 3))\n"
    )
    database = tmp_path / "old.db"
    subprocess.run([sys.executable, "-c", filled, database, name], check=True)
    assert example("move.py", engine, database, name) == f"{name}: 3 items\n"
    assert example("move.py", engine, database, name) == f"{name}: is there already\n"


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[Any]]]:
    """An endpoint that speaks as Bedrock's does, and what it was sent."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append((self.path, dict(self.headers), body))
            message = {"role": "assistant", "content": "Hello from Bedrock."}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()
    thread.join()


BEDROCK = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import openai.providers
from agents import Runner
made = openai.providers.bedrock
openai.providers.bedrock = lambda **options: made(base_url=sys.argv[2], **options)
from bedrock import build_agent
print(asyncio.run(Runner.run(build_agent("us-west-2"), "Hello")).final_output)
"""


def test_the_agent_on_bedrock_is_signed_for_by_its_role(endpoint: tuple[str, list[Any]]) -> None:
    """The tutorial's agent sends the chat API's request, signed with the role's credentials, its token included."""
    url, seen = endpoint
    variables = os.environ | AWS | {"AWS_SESSION_TOKEN": "session"}
    done = subprocess.run(
        [sys.executable, "-c", BEDROCK, EXAMPLES, url], env=variables, capture_output=True, text=True, check=False
    )
    assert done.stdout == "Hello from Bedrock.\n", done.stderr
    ((path, headers, body),) = seen
    sent = {name.lower(): value for name, value in headers.items()}
    assert path.endswith("/chat/completions")
    assert re.match(r"AWS4-HMAC-SHA256 Credential=test/\d{8}/us-west-2/", sent["authorization"])
    assert sent["x-amz-security-token"] == "session"
    assert body["model"] == "openai.gpt-oss-120b-1:0"


def test_the_site_has_every_page(site: Path) -> None:
    """The site is built strictly: what its builder or its check of links finds would have failed."""
    pages = {path.relative_to(site).parent.as_posix() for path in site.rglob("index.html")}
    assert {".", "attach", "tutorials/bedrock", "api/errors", "http", "costs", "project/changelog"} <= pages
    assert len(pages) > 30
    assert not [path for path in site.rglob("*.html") if "--8" in path.read_text()], "an example is not in its page"
    loaded = re.compile(r"""<(?:script|link|img)[^>]+(?:src|href)=["'](https?:)?//[^"']+\.(?:js|css|png|woff2?)""")
    assert not [path for path in site.rglob("*.html") if loaded.search(path.read_text())], "loads from elsewhere"


def test_the_reference_has_every_public_name(site: Path) -> None:
    """Whatever a public module exports, or has without an underscore, is described in the reference."""
    described = names_in(site / "objects.inv")
    wanted = set()
    for below in PUBLIC:
        module = import_module(f"openai_agents_session{below}")
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        exported = getattr(module, "__all__", [name for name in own if name[0] != "_"])
        wanted |= {f"{module.__name__}.{name}" for name in exported if not name.startswith("__")}
    assert len(wanted) > 60
    assert wanted - described == set()


def names_in(inventory: Path) -> set[str]:
    """The names that a site describes, by its inventory in Sphinx's form."""
    body = zlib.decompress(inventory.read_bytes().split(b"\n", 4)[4]).decode()
    return {line.split(" ", 1)[0] for line in body.splitlines()}


def test_every_module_of_the_library_that_is_public_has_its_page() -> None:
    """A module that people may import is in the reference: those with a name of their own in its pages, no others."""
    pages = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    for below in PUBLIC[1:]:
        assert f"::: openai_agents_session{below}\n" in pages, below


def test_the_openapi_document_is_valid_and_has_the_templates_routes() -> None:
    """The HTTP reference is an OpenAPI document, and its routes are exactly those of the template."""
    path = DOCS / "openapi.yaml"
    checked = subprocess.run(
        [PYTHON, "-m", "openapi_spec_validator", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    document = yaml.safe_load(path.read_text())
    described = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"  # what all methods of a path share
    }
    routes = set(re.findall(r"RouteKey: (\w+ \S+)", (ROOT / "template.yaml").read_text()))
    assert routes == described


STREAMED = """
const told = arguments[arguments.length - 1];
%s
(async () => {
  const events = [];
  for await (const one of say(location.origin, "streamed", arguments[0])) events.push(one);
  told(events);
})().catch((error) => told(String(error)));
"""


@pytest.mark.skipif(NO_BROWSER, reason=str(missing()))
def test_the_streaming_javascript_gets_every_event(tmp_path: Path) -> None:
    """The documented JavaScript, in a browser, gets a turn's events as they are streamed, with the answer at last."""
    source = (EXAMPLES / "stream.js").read_text().replace("export ", "")
    script = f"(function () {{ {STREAMED % source} }}).apply(null, arguments)"
    with agent_stage() as stage, serving(stage.variables, tmp_path / "log") as url, browser() as driver:
        driver.set_script_timeout(30)
        driver.get(f"{url}/sessions/other")
        for message in ("A line\u2028and another.", "What is 17.5 * 2340 / 100?", "What did I say first?"):
            events = driver.execute_async_script(script, message)
            names = [each["event"] for each in events]
            assert (names[0], names[-1]) == ("started", "done"), events
            said = "".join(each["data"]["delta"] for each in events if each["event"] == "text")
            assert said == events[-1]["data"]["answer"]
            assert ("tool_started" in names) is ("2340" in message)
        assert "A line\u2028and another." in said


@pytest.mark.skipif(NO_BROWSER, reason=str(missing()))
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_fits_its_window(site: Path, width: int) -> None:
    """Pages of each kind are no wider than a telephone's or a desk's window: what is wide scrolls in itself."""
    with browser(max(width, 500), 900) as driver:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        for page in (site / name / "index.html" for name in FITTED):
            driver.get(page.as_uri())
            wide = driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, page.relative_to(site)


STORY = [
    ("http_message.json", "/sessions/{session_id}", "post", 200),
    ("http_history.json", "/sessions/{session_id}", "get", 200),
    ("http_bad_request.json", "/sessions/{session_id}", "post", 400),
    ("http_refund.json", "/sessions/{session_id}", "post", 202),
    ("http_approvals.json", "/sessions/{session_id}/approvals", "get", 200),
    ("http_approve.json", "/sessions/{session_id}/approvals", "post", 200),
    ("http_update.json", "/sessions/{session_id}", "patch", 200),
    ("http_list.json", "/sessions", "get", 200),
    ("http_fork.json", "/sessions/{session_id}/fork", "post", 200),
    ("http_edit.json", "/sessions/{session_id}/edit", "post", 200),
    ("http_regenerate.json", "/sessions/{session_id}/regenerate", "post", 200),
    ("http_stop.json", "/sessions/{session_id}/stop", "post", 200),
    ("http_rewind.json", "/sessions/{session_id}/rewind", "post", 200),
    ("http_clear.json", "/sessions/{session_id}", "delete", 200),
]
"""Sample requests in an order in which each finds what it needs."""


def test_the_agent_answers_as_the_openapi_document_says(agent: Callable[[str], Any]) -> None:
    """Each sample request gets its status, which its operation has, with a body of that status's schema and no more."""
    for event, path, method, status in STORY:
        answer = agent(event)
        assert answer["statusCode"] == status, (event, answer)
        checked = subprocess.run(
            [PYTHON, "-c", VALIDATION, DOCS / "openapi.yaml", path, method, str(answer["statusCode"])],
            input=answer["body"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, (event, checked.stderr)


VALIDATION = """
import json, sys, yaml
from jsonschema import Draft202012Validator
document = yaml.safe_load(open(sys.argv[1]))
def close(node):  # what the document does not name is not to be there
    if isinstance(node, dict) and "properties" in node:
        node.setdefault("additionalProperties", False)
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        close(child)
close(document)
response = document["paths"][sys.argv[2]][sys.argv[3]]["responses"][sys.argv[4]]
if "$ref" in response:
    response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
schema = response["content"]["application/json"]["schema"]
errors = [error.message for error in Draft202012Validator({**document, **schema}).iter_errors(json.load(sys.stdin))]
sys.exit("; ".join(errors) or 0)
"""


@dataclass(frozen=True)
class Context:
    """What Lambda tells a handler about an invocation."""

    aws_request_id: str
    function_name: str = "agent"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:agent"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation ends."""
        return 60_000


HANDLING = """
import json, sys
from importlib import import_module
sys.path[:0] = sys.argv[1:3]
handler = import_module("app").handler
from tests.e2e.test_site import Context
for number, line in enumerate(sys.stdin):
    print("answer", json.dumps(handler(json.loads(line), Context(str(number)))), flush=True)
"""


@pytest.fixture(scope="module")
def agent(start_engine: Callable[[str], Engine]) -> Iterator[Callable[[str], Any]]:
    """The agent's handler in a process of its own, which answers sample events one after the other."""
    settings = stage_on(start_engine("dynoxide").endpoint_url).variables | {"AWS_REGION": "eu-central-1"}
    process = subprocess.Popen(
        [sys.executable, "-c", HANDLING, ROOT / "functions" / "agent", ROOT],
        env=os.environ | AWS | settings | {"POWERTOOLS_TRACE_DISABLED": "true"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    sent, told = process.stdin, process.stdout
    run_id = ""

    def ask(event: str) -> Any:
        nonlocal run_id
        text = json.dumps(json.loads((ROOT / "events" / event).read_text()))
        sent.write(text.replace("0123456789abcdef", run_id) + "\n")
        sent.flush()
        line = next(line for line in told if line.startswith("answer "))  # what is between them is the log
        answer = json.loads(line.removeprefix("answer "))
        run_id = (json.loads(answer["body"]).get("pending") or {}).get("run_id", run_id)
        return answer

    yield ask
    with process:
        sent.close()
        told.read()


OF_OTHERS = ("Event loop is closed", "Task timed out", "Unzipped size", "ModuleNotFoundError")
"""Messages of Python and of Lambda."""


def test_every_message_that_is_explained_is_one_that_is_given() -> None:
    """The page of error messages quotes the code: what it promises to be found is there to be found."""
    page = (DOCS / "troubleshooting.md").read_text()
    quoted = re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
    folders = [ROOT / "layer" / "openai_agents_session", ROOT / "tools", ROOT / "functions"]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    files = [*sources, ROOT / "template.yaml", ROOT / "Makefile", ROOT / "layer" / "Makefile"]
    given = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files))
    messages = [part for row in quoted for part in re.findall(r"`(.+?)`", row) if not part.startswith(OF_OTHERS)]
    pieces = {piece.strip(" :.") for part in messages for piece in re.split(r"…|: |\d+|(?<=Error) ", part)}
    assert len(messages) > 20
    assert sorted(piece for piece in pieces if len(piece) > 3 and piece not in given) == []
