"""The two commands on Debian 12 with its own Python 3.11.2, make, and nothing else: in a folder made of its packages.

It takes root and mmdebstrap, and some minutes. A person without rights runs the commands there, in a path with spaces
and accents, on a process table and a network of their own where that matters.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.emulation import rie

SUITE, PACKAGES = "bookworm", ("python3", "python3-venv", "make", "ca-certificates")
PERSON = 1000
HOME = "/home/zoë"
PROJECT = f"{HOME}/my projects/zoë's agent"
SECOND_DEMO_SECONDS = 15

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# What a package client on this machine needs to be told; the machine below has this machine's network.
CLIENTS = dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), CERTIFICATES)


def missing() -> str | None:
    """Why it cannot be tried here, or None."""
    if os.geteuid():
        return "a machine of Debian's packages is made by root"
    if not shutil.which("mmdebstrap"):
        return "mmdebstrap is missing (Debian: apt-get install mmdebstrap)"
    return None


pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=f"plain Debian: not run: {missing()}"),
    pytest.mark.timeout(1_500),
]


class Machine:
    """A folder with Debian's files, as a machine to run commands on."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str, *, online: bool = True) -> str:
        """Run a shell command as the person, in the project's folder.

        Args:
            command: The command.
            online: Whether there is a network besides loopback.

        Returns:
            What it printed.
        """
        own = ("--mount", "--pid", "--fork", "--kill-child", *(() if online else ("--net",)))
        variables = CLIENTS | {"HOME": HOME, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        as_person = ("chroot", f"--userspec={PERSON}:{PERSON}", str(self.root), "env", "-i")
        settings = [f"{name}={value}" for name, value in variables.items()]
        script = ["sh", "-c", f'cd "$1" || exit; {command}', "sh", PROJECT]
        done = subprocess.run(
            ["unshare", *own, "sh", "-c", ENTER, "sh", str(self.root), *as_person, *settings, *script],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


# A mount namespace of its own: what is mounted is gone with the command.
ENTER = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" || exit
ip link set lo up 2> /dev/null
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root = tmp_path_factory.mktemp("debian") / "root"
    packages = f"--include={','.join(PACKAGES)}"
    subprocess.run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", packages, SUITE, root], check=True)
    for name in ("/etc/resolv.conf", "/etc/hosts", CERTIFICATES):
        shutil.copy(name, root / name[1:])
    with (root / "etc/passwd").open("a") as people:
        people.write(f"zoe:x:{PERSON}:{PERSON}::{HOME}:/bin/sh\n")
    project = root / PROJECT[1:]
    for name in source_files():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(rie.ROOT / name, project / name)
    subprocess.run(["chown", "-R", f"{PERSON}:{PERSON}", root / HOME[1:]], check=True)
    yield Machine(root)
    shutil.rmtree(root)


def source_files() -> list[str]:
    """The project's files, as they are committed or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=rie.ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in listed if name and (rie.ROOT / name).exists()]


def test_the_two_commands_work_on_plain_debian(machine: Machine, record_property: pytest.RecordProperty) -> None:
    there_is_debians_python_and_nothing_else(machine)
    two_first_demos_at_once_both_play(machine)
    record_property("sample", a_second_demo_needs_no_network_and_little_time(machine))
    the_tests_run(machine)
    sam_builds_for_a_python_that_is_here_and_says_what_to_do_where_it_is_not(machine)


def there_is_debians_python_and_nothing_else(machine: Machine) -> None:
    assert machine.run("python3 --version").strip() == "Python 3.11.2"
    assert machine.run("id -u; command -v git java node uv cc docker || true").split() == [str(PERSON)]


def two_first_demos_at_once_both_play(machine: Machine) -> None:
    shown = machine.run("make demo > one.log 2>&1 & make -j4 demo > two.log 2>&1; wait $! && cat one.log two.log")
    assert shown.count("Your name is Ada.") == 2, shown
    assert shown.count("issue_refund ran once") == 2, shown


def a_second_demo_needs_no_network_and_little_time(machine: Machine) -> str:
    before = cpu_seconds()
    shown = machine.run("make demo", online=False)
    used = cpu_seconds() - before
    assert "issue_refund ran once" in shown
    seconds = re.findall(r"The demo took ([\d.]+) s", shown)[0]
    # What else runs here makes it wait, but not work: with two processors to itself it takes half of this.
    assert used < 2 * SECOND_DEMO_SECONDS
    return f"the second demo on plain Debian took {seconds} s, and {used:.1f} s of processors"


def cpu_seconds() -> float:
    """What the processes used that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def the_tests_run(machine: Machine) -> None:
    tests = "tests/unit/test_house.py tests/unit/test_environment.py tests/integration/test_engines.py"
    shown = machine.run(f'make test ARGS="-q -n 2 {tests}"')
    assert re.search(r"\d+ passed", shown)
    assert "dynamodb-local: MISSING, it needs Java" in shown, "the summary names what is missing"


def sam_builds_for_a_python_that_is_here_and_says_what_to_do_where_it_is_not(machine: Machine) -> None:
    sam = "SAM_CLI_TELEMETRY=0 .work/envs/sam/bin/sam build --build-dir"
    machine.run(f"{sam} .work/here --parameter-overrides PythonVersion=3.11")
    machine.run("test -n \"$(find .work/here/SessionLayer -name 'app*.pyc' -o -name 'environment*.pyc' | head -1)\"")
    refused = machine.run(f"! {sam} .work/absent 2>&1", online=False)
    assert "Put python3.13 on PATH, or build for a version that is here (3.11)" in refused
