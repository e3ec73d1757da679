"""The operator's command as a process: any width, any encoding, Ctrl-C at any moment, a full disk, bad credentials."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import AioSession

from openai_agents_session.runs import PendingCall, PendingRuns
from tests.support.operating import World, create_table, environment, message
from tools.emulation import engines
from tools.emulation.engines import Engine

pytestmark = pytest.mark.one_engine

LONG = f"ada-{'0123456789' * 6}@{'f' * 32}"
NAMES = ["ada@0123456789abcdef0123456789abcdef", LONG, "zürich→日本語🏔", "b"]
SUM = '{"exported": {"sessions": 1, "items": 0}}'
COMMAND = [sys.executable, "-m", "openai_agents_session.cli"]


@pytest.fixture(scope="module")
def place(start_engine: Callable[[str], Engine]) -> Engine:
    """One engine: what is tested here is the terminal's side."""
    names = [name for name, reason in engines.available().items() if not reason]
    return start_engine("dynoxide" if "dynoxide" in names else names[0])


@pytest.fixture(scope="module")
def where(place: Engine, aws_session: AioSession) -> dict[str, str]:
    """The environment of the command, with a table that has sessions of all kinds, one of them damaged."""
    table = f"terminal-{os.getpid()}-{random.randrange(1 << 30)}"

    async def fill() -> None:
        async with aws_session.create_client("dynamodb", endpoint_url=place.endpoint_url) as client:
            await create_table(client, table)
            world = World(client, table)
            for name in NAMES:
                await world.fill(name, count=12, owner=f"user:{name[:12]}→", ttl_seconds=90_000)
                await world.session(name).add_items(TOOLS)
            await PendingRuns(world.session(NAMES[0])).park("{}", [PendingCall(CALL, "transfer", '{"amount": 5}')])
            await world.delete((await world.live_parts(LONG))[0])
            head = (await world.items())["b"]
            await world.put({**head, "state": {"B": b"what?"}})

    asyncio.run(fill())
    return environment(place.endpoint_url, table)


CALL = f"call_{'9' * 24}"
TOOLS: list[Any] = [
    message("Grüße → 日本語 🏔 … ✓"),
    {"type": "function_call", "call_id": CALL, "name": "weather", "arguments": json.dumps({"city": "Rome" * 30})},
    {"type": "function_call_output", "call_id": CALL, "output": "sunny → " * 40},
]


def environ(where: dict[str, str], **more: str) -> dict[str, str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON", "COLUMNS"))
    }
    return clean | where | more


def run(where: dict[str, str], *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environ(where, **more), capture_output=True, timeout=90, check=False
    )


def in_terminal(where: dict[str, str], columns: int, *arguments: str) -> str:
    """What the command shows in a terminal so wide, without colours."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environ(where, TERM="xterm", PYTHONUTF8="1"),
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=subprocess.PIPE,
    )
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 1 << 16):
            shown += piece
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(ours)
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in {0, 1}, errors
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r", "")


# --- width -----------------------------------------------------------------------------------------------------------

SHOWN: dict[str, tuple[list[str], list[str]]] = {
    "list": (["list"], NAMES),
    "verify": (["verify"], [LONG, "b"]),
    "repair": (["repair", "--dry-run"], [LONG, "b"]),
    "show": (["show", NAMES[0]], [NAMES[0], CALL]),
    "cost": (["cost", NAMES[0]], [NAMES[0]]),
    "delete": (["delete", "--prefix", "", "--dry-run"], NAMES),
}


@pytest.mark.parametrize("columns", [40, 57, 80, 120, 300])
@pytest.mark.parametrize("command", SHOWN)
def test_ids_are_whole_at_every_width_and_all_else_is_shown_too(
    where: dict[str, str], command: str, columns: int
) -> None:
    """Whatever the width is, each id is on one line and whole, and what is beside it fits or stands below."""
    arguments, ids = SHOWN[command]
    shown = in_terminal(where, columns, *arguments)
    lines = shown.splitlines()
    for name in ids:
        assert any(name in line for line in lines), (name, shown)
    others = [line for line in lines if not any(name in line for name in [*ids, "#~", CALL])]
    assert all(len(line.rstrip()) <= columns for line in others), shown
    if command == "list":
        assert shown.count("user:") == len(NAMES) - 1  # a damaged head tells no owner
    if command == "verify":
        assert {"damaged part", "damaged head", "it is missing"} <= set(
            re.findall(r"damaged part|damaged head|it is missing", shown)
        )


def test_what_goes_into_a_pipe_has_a_line_for_each_session(where: dict[str, str]) -> None:
    """No width bounds a pipe: grep and awk get whole rows."""
    lines = run(where, "list").stdout.decode().splitlines()
    assert len(lines) == len(NAMES) + 1
    assert {line.split()[0] for line in lines[1:]} == set(NAMES)


# --- encodings of what is written ------------------------------------------------------------------------------------

ENCODINGS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "utf-16": {"PYTHONIOENCODING": "utf-16", "PYTHONUTF8": "0"},
    "koi8-r": {"PYTHONIOENCODING": "koi8-r:strict", "PYTHONUTF8": "0"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", NAMES[2]],
        ["show", NAMES[2], "--raw"],
        ["verify"],
        ["cost", NAMES[2]],
        ["export", NAMES[2]],
        ["delete", NAMES[2], "--dry-run"],
        ["show", "nobody→"],
    ],
    ids=lambda arguments: "-".join(arguments[:1] + arguments[2:]),
)
def test_no_output_fails_because_of_its_encoding(where: dict[str, str], encoding: str, arguments: list[str]) -> None:
    """A character that the terminal lacks is written in ASCII; no command fails over it."""
    result = run(where, *arguments, **ENCODINGS[encoding])
    assert result.returncode == (1 if arguments[0] == "verify" or "nobody→" in arguments else 0), result.stderr
    assert b"Traceback" not in result.stderr
    assert b"codec" not in result.stderr
    if "--raw" in arguments:
        text = result.stdout.decode(ENCODINGS[encoding].get("PYTHONIOENCODING", "ascii").split(":")[0])
        assert json.loads(text.splitlines()[-3])["content"] == TOOLS[0]["content"]
    if arguments[0] == "export":
        assert TOOLS[0]["content"] in result.stdout.decode("utf-8")  # a file of sessions is UTF-8 everywhere


def test_a_deletion_is_told_in_every_encoding(where: dict[str, str]) -> None:
    """What was done is said, also where the id has no form in the terminal's encoding."""
    for number, settings in enumerate(ENCODINGS.values()):
        name = f"weg-{number}→日本"
        text = (
            json.dumps({"session_id": name, "session": {"items": 0}}) + '\n{"exported": {"sessions": 1, "items": 0}}\n'
        )
        given = subprocess.run(
            [*COMMAND, "import", "-"],
            input=text.encode(),
            env=environ(where),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert given.returncode == 0, given.stderr
        result = run(where, "delete", name, "-y", **settings)
        assert result.returncode == 0, result.stderr
        assert result.stdout
        assert run(where, "verify", name).returncode == 1


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


@contextmanager
def silent_endpoint() -> Iterator[str]:
    """An endpoint that takes requests and never answers."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in taken:
            connection.close()


def interrupted(where: dict[str, str], arguments: list[str], after: Callable[[subprocess.Popen[bytes]], None]) -> Any:
    """Run the command, interrupt it once ``after`` returns, and give how it ended and how soon."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environ(where),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        after(process)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        return process.returncode, time.monotonic() - began, out, err
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def until_it_waits(process: subprocess.Popen[bytes]) -> None:
    """Until the command has been loaded and has had nothing to do for a while."""
    worked, since = 0, time.monotonic()
    for _ in range(600):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        now, is_asleep = int(fields[11]) + int(fields[12]), fields[0] == "S"
        if now != worked or not is_asleep:
            worked, since = now, time.monotonic()
        if worked > 20 and time.monotonic() - since > 1:
            return
        time.sleep(0.1)


WAITING = {
    "list": ["list"],
    "show": ["show", "ada"],
    "cost": ["cost", "ada"],
    "ping": ["ping"],
    "export": ["export", "ada"],
    "salvage": ["salvage", "ada"],
    "verify": ["verify"],
    "repair": ["repair", "-y"],
    "delete": ["delete", "ada", "-y"],
    "create-table": ["create-table"],
    "import": ["import", "FILE"],
    "import --append": ["import", "FILE", "--append"],
}


@pytest.mark.parametrize("command", WAITING)
def test_ctrl_c_ends_a_command_that_waits_for_an_answer(where: dict[str, str], command: str, tmp_path: Path) -> None:
    """Exit code 130 at once and one line, even in the middle of a write."""
    file = tmp_path / "file"
    file.write_text('{"session_id": "ada", "session": {"items": 1}}\n{"session_id": "ada", "item": {"role": "user"}}\n')
    arguments = [str(file) if word == "FILE" else word for word in WAITING[command]]
    with silent_endpoint() as url:
        code, seconds, _, err = interrupted(where | {"AWS_ENDPOINT_URL_DYNAMODB": url}, arguments, until_it_waits)
    assert code == 130, err
    assert seconds < 4
    assert b"interrupted" in err
    assert b"Traceback" not in err


def test_ctrl_c_at_a_question_ends_the_command(where: dict[str, str]) -> None:
    """A question is no place where Ctrl-C is only noted down; nothing is deleted."""

    def asked(process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(process.stderr.fileno(), 1000)

    for arguments in (["delete", NAMES[0]], ["repair"]):
        code, seconds, _, err = interrupted(where, arguments, asked)
        assert (code, b"Traceback" in err) == (130, False), err
        assert seconds < 3
    assert run(where, "verify", NAMES[0]).returncode == 0


def test_ctrl_c_while_stdin_gives_nothing_ends_the_import(where: dict[str, str]) -> None:
    """Whoever forgets the file and sits before an empty line gets out."""
    code, seconds, _, err = interrupted(where, ["import", "-"], until_it_waits)
    assert (code, b"Traceback" in err) == (130, False), err
    assert seconds < 3


def test_the_end_of_stdin_at_a_question_is_a_no(where: dict[str, str]) -> None:
    """A script without --yes deletes nothing."""
    result = subprocess.run(
        [*COMMAND, "delete", NAMES[0]], env=environ(where), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (result.returncode, b"nothing was deleted" in result.stderr) == (1, True)


def test_ctrl_c_at_any_moment_leaves_nothing_half_written(where: dict[str, str], tmp_path: Path) -> None:
    """An export that is interrupted anywhere leaves the whole file, or none under its name."""
    file = tmp_path / "all.jsonl"
    names = [name for name in NAMES if name not in {LONG, "b"}]
    chance = random.Random(7)
    for _ in range(6):
        file.unlink(missing_ok=True)
        moment = chance.uniform(0.3, 2.5)
        code, _, _, err = interrupted(
            where, ["export", *names, "-o", str(file)], lambda process, moment=moment: time.sleep(moment)
        )
        assert code in {0, 130, -signal.SIGINT}, err
        if code == 0 or file.exists():  # who stops it just before its end has the file all the same
            assert json.loads(file.read_text().splitlines()[-1]) == {"exported": {"sessions": 2, "items": 30}}
        assert set(tmp_path.iterdir()) <= {file}


# --- a full disk -----------------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_nothing_is_said_to_be_done(where: dict[str, str], tmp_path: Path) -> None:
    """Written first, then said: no success line before a write that fails, and no half file under its name."""
    file = tmp_path / "all.jsonl"
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    limited += "import runpy; sys.argv[0] = 'x'; runpy.run_module('openai_agents_session.cli', run_name='__main__')"
    result = subprocess.run(
        [sys.executable, "-c", limited, "export", NAMES[0], NAMES[2], "-o", str(file)],
        env=environ(where, PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, list(tmp_path.iterdir())) == (3, []), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert b"File too large" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["list"], ["export", NAMES[0]], ["export", NAMES[0], "-o", "/dev/full"], ["verify", "--json"]]
)
def test_a_result_that_cannot_be_written_is_an_error(where: dict[str, str], arguments: list[str]) -> None:
    """stdout may be a full disk as well."""
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [*COMMAND, *arguments], env=environ(where), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert result.returncode == 3, result.stderr
    assert b"No space left on device" in result.stderr
    assert b"Traceback" not in result.stderr
    assert b"Exception ignored" not in result.stderr


def test_a_reader_that_has_had_enough_is_no_error(where: dict[str, str]) -> None:
    """``export ... | head -1`` ends quietly."""
    line = f"{' '.join(COMMAND)} export {NAMES[0]} {NAMES[2]} | head -1"
    result = subprocess.run(["bash", "-c", line], env=environ(where), capture_output=True, check=False, timeout=60)
    assert result.stdout.count(b"\n") == 1
    assert b"Traceback" not in result.stderr
    assert b"Exception ignored" not in result.stderr


# --- credentials -----------------------------------------------------------------------------------------------------


@contextmanager
def refusing(code: str, text: str) -> Iterator[str]:
    """An endpoint that refuses every request as AWS does."""

    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": text}).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


REFUSALS = {
    ("ExpiredTokenException", "The security token included in the request is expired"): "Renew them",
    ("UnrecognizedClientException", "The security token included in the request is invalid."): "Renew them",
    ("MissingAuthenticationTokenException", "Request is missing Authentication Token"): "Renew them",
    ("InvalidSignatureException", "Signature expired: 20261126T000000Z is now earlier than 2026"): "Check the clock",
    ("InvalidSignatureException", "Signature not yet current: 20261126T0 is still later than"): "Check the clock",
    ("RequestTimeTooSkewed", "The difference is too large"): "Check the clock",
    ("InvalidSignatureException", "The request signature we calculated does not match"): "Renew them",
    ("AccessDeniedException", "User: arn:x is not authorized to perform: dynamodb:Scan"): "dynamodb:Scan",
    ("ValidationException", "The provided key element does not match the schema"): "no table of sessions",
}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal[0]}-{refusal[1][:20]}")
def test_a_refusal_of_the_credentials_says_what_to_do(where: dict[str, str], refusal: tuple[str, str]) -> None:
    """Renew them, check the clock, or get the permission: one line, exit code 3."""
    with refusing(*refusal) as url:
        for command in (["ping"], ["import", "-"]):
            result = subprocess.run(
                [*COMMAND, *command],
                input=b'{"session_id": "ada", "session": {"items": 0}}\n{"exported": {"sessions": 1, "items": 0}}\n',
                env=environ(where, AWS_ENDPOINT_URL_DYNAMODB=url),
                capture_output=True,
                check=False,
                timeout=60,
            )
            assert result.returncode == 3, result
            errors = [line for line in result.stderr.decode().splitlines() if line.startswith("error: ")]
            assert len(errors) == 1
            assert REFUSALS[refusal] in errors[0]
            assert "function's role" not in errors[0]
            assert "Traceback" not in result.stderr.decode()


PROFILES = {
    "sso": ("sso_session = corp\nsso_account_id = 1\nsso_role_name = Admin", "aws sso login"),
    "old-sso": (
        "sso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1\nsso_account_id = 1\n"
        "sso_role_name = Admin",
        "aws sso login",
    ),
    "bad-sso": ("sso_session = nowhere\nsso_account_id = 1\nsso_role_name = Admin", '"nowhere"'),
    "program": ("credential_process = /nonexistent/program", "/nonexistent/program"),
    "program-junk": ("credential_process = /bin/echo junk", "cannot be had"),
    "program-fails": ("credential_process = /bin/false", "cannot be had"),
    "token": ("role_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = /nonexistent/token", "/nonexistent/token"),
    "source": ("role_arn = arn:aws:iam::1:role/x\nsource_profile = gone", '"gone"'),
    "half": ("aws_access_key_id = AKIA", "aws_secret_access_key"),
    "loop": ("role_arn = arn:aws:iam::1:role/x\nsource_profile = loop", "Infinite loop"),
    "none": ("", "no AWS credentials"),
}


@pytest.mark.parametrize("profile", PROFILES)
def test_credentials_that_cannot_be_had_are_one_line(where: dict[str, str], profile: str, tmp_path: Path) -> None:
    """Whatever is wrong with a profile: no traceback, no log, one line that names it."""
    settings, said = PROFILES[profile]
    session = "[sso-session corp]\nsso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1\n"
    (tmp_path / "config").write_text(f"[profile {profile}]\n{settings}\n{session}")
    keyless = {name: value for name, value in where.items() if "KEY" not in name}
    result = run(keyless, "ping", "--profile", profile, AWS_CONFIG_FILE=str(tmp_path / "config"), HOME=str(tmp_path))
    assert result.returncode == 3
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert said in lines[0]


# --- the command as such ---------------------------------------------------------------------------------------------


def test_version_help_and_completion(where: dict[str, str]) -> None:
    """They need no table and no AWS."""
    nowhere = {"PATH": os.environ["PATH"]}
    assert re.fullmatch(rb"openai-agents-session \d+\.\d+\.\d+\n", run(nowhere, "--version").stdout)
    for arguments in (["help"], ["--help"], ["help", "export"], ["export", "--help"]):
        shown = run(nowhere, *arguments, COLUMNS="40", **ENCODINGS["C"])
        assert shown.returncode == 0
        assert (b"--after" in shown.stdout) == ("export" in arguments)
        assert b"Exit codes" in shown.stdout or "export" in arguments
    assert run(nowhere, "help", "frobnicate").returncode == 2
    completed = subprocess.run(
        [str(Path(sys.executable).with_name("openai-agents-session"))],
        env=nowhere
        | {
            "_OPENAI_AGENTS_SESSION_COMPLETE": "complete_bash",
            "COMP_WORDS": "openai-agents-session ex",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert completed.stdout.split() == [b"export"]


def test_arguments_are_read_in_a_locale_without_utf_8(where: dict[str, str]) -> None:
    """An id is the bytes that were typed, in UTF-8, also where Python could not decode them."""
    result = run(where, "show", NAMES[2], "--json", **ENCODINGS["C"])
    assert json.loads(result.stdout)["session"]["session_id"] == NAMES[2]
