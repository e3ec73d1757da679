"""The built layer, as it is: in clean interpreters, for every target, beside other people's boto3."""

from __future__ import annotations

import functools
import json
import re
import struct
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tools import interpreters
from tools.emulation import ministack
from tools.emulation.sam import ROOT
from tools.layers import assemble, binaries, build, trim
from tools.layers.assemble import PYTHONS, VARIANTS, Target

SOURCES = ROOT / "layer"
PYTHON = next(version for version in ("3.13", *interpreters.SUPPORTED) if interpreters.find(version))
"""The template's runtime, or the newest that this machine has."""

TARGETS = [Target(arch=arch, python=PYTHON) for arch in assemble.ARCHITECTURES]
OLDEST = Target(python=[*interpreters.installed()][-1])
FULL_LIMIT_BYTES, ZIP_LIMIT_BYTES = 105_000_000, 46_000_000

# What an attached function may use beside its sessions.
SERVICES = (
    *("s3", "sqs", "sns", "dynamodb", "lambda", "ssm", "secretsmanager", "events", "kinesis", "sts", "logs"),
    *("cloudwatch", "stepfunctions", "ec2", "bedrock-runtime", "cognito-idp"),
)


def machine() -> str:
    """This machine's architecture, in Lambda's words."""
    from tools.emulation.rie import architecture

    return architecture()


@functools.cache
def built(target: Target) -> Path:
    """The layer's folder, built once in a run."""
    return build.build(target).resolve() / "python"


def in_interpreter(python: Path, program: str, *arguments: str, options: Sequence[str] = ("-I", "-B")) -> Any:
    """What a program prints as JSON, in an interpreter that sees nothing of this environment."""
    done = subprocess.run([python, *options, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


IMPORT = """
import importlib, importlib.metadata, json, pathlib, sys
layer, names = sys.argv[1], sys.argv[2:]
sys.path.insert(0, layer)
for name in names:
    importlib.import_module(name)
loaded = {
    name: (spec.origin, spec.cached)
    for name, module in sys.modules.items()
    if (spec := getattr(module, "__spec__", None)) and (spec.origin or "").endswith(".py")
}
compiled = {name: cached for name, (origin, cached) in loaded.items() if origin.startswith(layer)}
print(json.dumps({
    "version": importlib.metadata.version("openai-agents-session-layer"),
    "foreign": sorted(origin for origin, _ in loaded.values() if "site-packages" in origin),
    "uncompiled": sorted(name for name, cached in compiled.items() if not pathlib.Path(cached).exists()),
    "flags": sorted({path.read_bytes()[4] for path in map(pathlib.Path, compiled.values()) if path.exists()}),
    "modules": len(compiled),
}))
"""


def public_modules(variant: str) -> list[str]:
    """Every module of the library that runs on Lambda; its command is for operators, and needs more than the layer."""
    package = SOURCES / "openai_agents_session"
    paths = (path.relative_to(SOURCES).with_suffix("") for path in package.rglob("*.py"))
    names = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    left_out = r"\.(_|cli\b)" if variant == "full" else r"\.(_|cli\b|service\b|durable\b)"  # which need more
    return sorted(name for name in names if not re.search(left_out, name))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_module_imports_from_the_layer_alone(variant: str, python: str) -> None:
    if (interpreter := interpreters.find(python)) is None:
        pytest.skip(f"there is no Python {python} here")
    layer = build.build(Target(variant, machine(), python)) / "python"
    names = public_modules(variant)
    if variant == "full":
        names += ["agents", "agents.extensions.memory", "aws_lambda_powertools.utilities.batch", "aiobotocore.session"]
    seen = in_interpreter(interpreter, IMPORT, str(layer), *names, options=("-I", "-S", "-B"))
    assert seen["version"] == tomllib.loads((SOURCES / "pyproject.toml").read_text())["project"]["version"]
    assert seen["foreign"] == []
    # Bytecode that is never checked against its source: PEP 552's flags 0b01.
    assert seen["flags"] == [1]
    assert len(seen["uncompiled"]) <= 0.03 * seen["modules"]


def test_hardly_a_module_of_an_agents_turn_lacks_bytecode() -> None:
    """The list of compiled modules is of this lock and of this agent (`make bytecode` renews it)."""
    python = interpreters.find("3.13")
    if python is None:
        pytest.skip("there is no Python 3.13 here, for which the list was made")
    layer = build.build(Target("full", machine(), "3.13")) / "python"
    recorder = ROOT / "tools" / "layers" / "record.py"
    site = next(path for path in map(Path, sys.path) if (path / "boto3").exists())
    command = [python, "-I", recorder, layer, ROOT / "functions" / "agent", site]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(done.stdout.splitlines())
    assert len(imported) > 1_000
    assert len(imported - set(assemble.hot_modules())) <= 0.01 * len(imported)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_layer_is_small(target: Target) -> None:
    assert build.size_of(built(target)) <= FULL_LIMIT_BYTES
    assert build.archive(target).stat().st_size <= ZIP_LIMIT_BYTES


@pytest.mark.parametrize("target", [*TARGETS, OLDEST], ids=lambda target: target.name)
def test_binaries_load_on_the_target(target: Target) -> None:
    tree = built(target)
    assert len(list(tree.rglob("*.so"))) > 10
    assert list(binaries.problems(tree, target.arch, target.python)) == []


def test_binaries_of_another_target_are_found_out() -> None:
    tree = built(TARGETS[0])
    assert any("is not for arm64" in problem for problem in binaries.problems(tree, "arm64", "3.13"))
    assert any("is not for Python 3.10" in problem for problem in binaries.problems(tree, "x86_64", "3.10"))


@pytest.mark.parametrize(("python", "loads"), [("3.11", False), ("3.12", True)])
def test_a_c_library_that_the_runtime_has_not_is_found_out(tmp_path: Path, python: str, loads: bool) -> None:
    header = b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", binaries.MACHINES["x86_64"])
    (tmp_path / "new.abi3.so").write_bytes(header + b"\0GLIBC_2.2.5\0GLIBC_2.34\0")
    assert (list(binaries.problems(tmp_path, "x86_64", python)) == []) is loads


def test_two_builds_are_the_same_to_the_byte(tmp_path: Path) -> None:
    target = Target(arch=machine(), python=PYTHON)
    assemble.assemble(target, tmp_path / "again")
    assemble.write_zip(tmp_path / "again", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == build.archive(target).read_bytes()


def test_every_package_is_locked_with_hashes_and_lean_is_a_part_of_full() -> None:
    locked = {}
    for variant, name in VARIANTS.items():
        requirements = (SOURCES / name).read_text().replace("\\\n", "").splitlines()
        packages = [line for line in requirements if line and not line.startswith("#")]
        assert all("==" in line and "--hash=sha256:" in line for line in packages)
        locked[variant] = {line.split()[0] for line in packages}
    assert locked["lean"] < locked["full"]


def test_licences_stay_and_what_is_of_no_use_in_lambda_goes() -> None:
    tree = build.build(Target(arch=machine(), python=PYTHON)) / "python"
    names = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert any(name.startswith("cryptography-") and "/licenses/LICENSE" in name for name in names)
    assert "agents/testing/__init__.py" in names, "a public module, in spite of its name"
    assert not [name for name in names if name.endswith((".pyi", ".pyx", "/RECORD", "/direct_url.json"))]
    assert not [name for name in names if name.startswith("bin/")]


def test_metadata_keeps_its_headers_and_loses_the_readme() -> None:
    assert trim.headers("Name: x\nVersion: 1\n\n# X\n\nVersion: 2\n") == "Name: x\nVersion: 1\n"


def test_no_service_model_is_missing(tmp_path: Path) -> None:
    target = Target("lean", machine(), PYTHON)
    assemble.install(target, tmp_path / "untrimmed")
    models = Path("botocore", "data")
    trees = [tmp_path / "untrimmed" / models, built(target) / models]
    listed = [
        {path.relative_to(tree): path.stat().st_size for path in tree.rglob("*") if path.is_file()} for tree in trees
    ]
    assert listed[0] == listed[1]
    assert len({path.parts[0] for path in listed[0]}) > 400


BOTO3 = """
import io, json, sys
layer, endpoint, *services = sys.argv[1:]
sys.path.insert(0, layer)
import boto3, botocore
clients = {
    name: boto3.client(
        name, region_name="us-east-1", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test"
    )
    for name in services
}
s3, sqs = clients["s3"], clients["sqs"]
s3.create_bucket(Bucket="bucket")
s3.upload_fileobj(io.BytesIO(b"content"), "bucket", "key")
queue = sqs.create_queue(QueueName="queue")["QueueUrl"]
sqs.send_message(QueueUrl=queue, MessageBody="body")
print(json.dumps({
    "botocore": botocore.__file__,
    "boto3": boto3.__file__,
    "content": s3.get_object(Bucket="bucket", Key="key")["Body"].read().decode(),
    "message": sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"],
}))
"""


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("version", ["boto3-1.35", "boto3-1.40", "boto3-latest"])
def test_a_functions_boto3_works_behind_the_layer(version: str, variant: str, tmp_path: Path) -> None:
    """The runtime's boto3 gets along with the lean layer's botocore; the full layer has a boto3, which comes first."""
    environment = ROOT / ".work" / "envs" / version
    layer = build.build(Target(variant, machine(), python_of(environment))) / "python"
    with ministack.running(tmp_path) as aws:
        python = environment / "bin" / "python"
        seen = in_interpreter(python, BOTO3, str(layer), aws.endpoint_url, *SERVICES)
    assert seen["botocore"].startswith(str(layer))
    assert seen["boto3"].startswith(str(environment if variant == "lean" else layer))
    assert (seen["content"], seen["message"]) == ("content", "body")


def python_of(environment: Path) -> str:
    """The Python version of an environment."""
    return ministack.python_version(environment)
