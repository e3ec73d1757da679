"""What the set-up relies on: real interpreters, and downloads that are what was pinned."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tools import interpreters, npm
from tools.npm import Pin

ROOT = Path(__file__).resolve().parents[2]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def file(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = len(b"content")
    return member


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as package:
        for member in members:
            package.addfile(member, io.BytesIO(b"content"))
    return path


class TestInterpreters:
    def test_the_running_version_is_found_and_starts(self) -> None:
        assert interpreters.find(RUNNING)
        assert RUNNING in interpreters.installed()

    def test_a_shim_that_starts_nothing_is_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shim = program(tmp_path / f"python{RUNNING}", "exit 127")
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        assert interpreters.find(RUNNING) not in (None, shim)

    def test_a_program_of_another_version_is_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program(tmp_path / "python9.9", f'exec {sys.executable} "$@"')
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        assert interpreters.find("9.9") is None

    def test_the_newest_supported_one_stands_in_for_a_missing_one(self) -> None:
        assert interpreters.best("9.9") == next(iter(interpreters.installed().values()))

    def test_no_supported_one_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(interpreters, "SUPPORTED", ())
        with pytest.raises(LookupError, match="no Python"):
            interpreters.best("9.9")


class TestNpmPackages:
    def test_a_download_that_is_not_what_was_pinned_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "engine.tgz").write_bytes(b"something else")
        digest = base64.b64encode(hashlib.sha512(b"the engine").digest()).decode()
        with pytest.raises(ValueError, match="not " + re.escape(digest)):
            npm._check(tmp_path / "engine.tgz", f"sha512-{digest}")

    def test_a_package_is_unpacked_without_the_filters_that_debians_python_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        monkeypatch.delattr(tarfile.TarFile, "extractall")
        package = archive(tmp_path / "engine.tgz", file("package/bin/engine"), file("package/größe.txt"))
        npm.unpack(package, tmp_path / "into")
        assert (tmp_path / "into/package/bin/engine").read_bytes() == b"content"
        assert (tmp_path / "into/package/größe.txt").read_bytes() == b"content"

    @pytest.mark.parametrize("name", ["../engine", "package/../../engine", "/engine"])
    def test_a_package_writes_nothing_outside_its_folder(self, name: str, tmp_path: Path) -> None:
        package = archive(tmp_path / "engine.tgz", file(name))
        with pytest.raises(ValueError, match="not a plain file"):
            npm.unpack(package, tmp_path / "into")
        assert [path.name for path in tmp_path.iterdir()] == ["engine.tgz"]

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
    def test_a_package_holds_files_and_nothing_else(self, kind: bytes, tmp_path: Path) -> None:
        member = tarfile.TarInfo("package/engine")
        member.type, member.linkname = kind, "/etc/passwd"
        with pytest.raises(ValueError, match="not a plain file"):
            npm.unpack(archive(tmp_path / "engine.tgz", member), tmp_path / "into")

    def test_a_machine_without_a_package_is_told_so(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no package for"):
            npm.fetch(None, tmp_path)

    def test_what_is_there_is_not_fetched_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        (tmp_path / ".version").write_text("engine@1.0")
        npm.fetch(Pin(package="engine", version="1.0", integrity=None), tmp_path)

    def test_every_pin_has_an_exact_version(self) -> None:
        pins = json.loads((ROOT / "requirements" / "engines.json").read_text())
        packages = json.loads(npm.PINS.read_text())
        assert all(pin["integrity"].startswith("sha512-") for pin in packages.values())
        versions = [pin["version"] for machines in [*pins.values(), packages] for pin in machines.values()]
        assert versions
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)


def test_a_test_that_no_engine_here_can_run_is_skipped_also_by_parallel_workers() -> None:
    options = ["-n", "1", "--engines", "moto", "-p", "no:cacheprovider", "-k", "expired_items_are_deleted"]
    command = [sys.executable, "-m", "pytest", *options, "tests/integration/test_engines.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_locked_package_has_a_hash_and_no_registry_is_named(lock: Path) -> None:
    text = lock.read_text()
    packages = re.findall(r"^[a-z][^\n]*==[^\n]*\n(?:    --hash=sha256:[0-9a-f]{64}[^\n]*\n)+", text, re.MULTILINE)
    assert len(packages) == len(re.findall(r"^[a-z][^\n]*==", text, re.MULTILINE)) > 0
    assert "://" not in text
