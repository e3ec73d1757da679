"""What a function asks for in its requirements.txt is built for its target by `sam build`, and nothing twice."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import interpreters
from tools.emulation import rie
from tools.emulation.sam import ROOT, environ, overrides, sam
from tools.layers import binaries, build, functions, sam_build
from tools.layers.assemble import BuildError, Target

ARM = Target(arch="arm64", python="3.12")
COMPILED, PURE, OF_THE_LAYER, WITHOUT_WHEELS = "rapidfuzz==3.13.0", "python-slugify==8.0.4", "httpx", "docopt"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A function of two files, one of them in a sub-package."""
    folder = tmp_path / "function"
    (folder / "tools").mkdir(parents=True)
    (folder / "app.py").write_text("from tools.greeting import handler\n")
    (folder / "tools" / "__init__.py").touch()
    (folder / "tools" / "greeting.py").write_text("def handler(event, context):\n    return 'hello'\n")
    (folder / "tools" / "prompt.txt").write_text("Be kind.")
    (folder / "Makefile").touch()
    (folder / "tools" / "__pycache__").mkdir()
    (folder / "tools" / "__pycache__" / "greeting.cpython-312.pyc").write_bytes(b"stale")
    (folder / ".env").write_text("SECRET=1")
    return folder


def made(source: Path, requirements: str | None, target: Target = ARM) -> Path:
    """The function's artifact with some requirements."""
    if requirements is not None:
        (source / "requirements.txt").write_text(requirements)
    folder = source.parent / "artifact"
    folder.mkdir()
    functions.make(source, folder, target)
    return folder


def packages(folder: Path) -> set[str]:
    """The distributions in a folder, with their versions."""
    return {path.name.removesuffix(".dist-info") for path in folder.glob("*.dist-info")}


@pytest.mark.parametrize("requirements", [None, "", "\n# only a comment\n"])
def test_without_requirements_the_artifact_is_the_function_with_its_sub_packages(
    source: Path, requirements: str | None
) -> None:
    folder = made(source, requirements)
    shipped = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    sources = {path for path in shipped if not path.endswith(".pyc")}
    assert sources == {"app.py", "tools/__init__.py", "tools/greeting.py", "tools/prompt.txt"}
    if interpreters.find(ARM.python):
        assert "tools/__pycache__/greeting.cpython-312.pyc" in shipped
        assert (folder / "tools/__pycache__/greeting.cpython-312.pyc").read_bytes() != b"stale"


@pytest.mark.parametrize(("arch", "python"), [("arm64", "3.12"), ("x86_64", "3.13")])
def test_a_compiled_package_is_for_the_functions_processor_and_runtime(source: Path, arch: str, python: str) -> None:
    folder = made(source, COMPILED, Target(arch=arch, python=python))
    compiled = list(folder.rglob("rapidfuzz/*.so"))
    assert compiled
    assert {binaries.machine(path.read_bytes()) for path in compiled} == {binaries.MACHINES[arch]}
    assert all(f"cpython-{python.replace('.', '')}-" in path.name for path in compiled)


def test_what_the_layer_has_is_not_installed_again_and_what_it_needs_besides_is(source: Path) -> None:
    folder = made(source, f"{PURE}\n{OF_THE_LAYER}\naiobotocore\nopenai-agents>=0.20\n")
    layer = packages(build.build(ARM) / "python")
    assert {"aiobotocore", "httpcore2"} <= {name.partition("-")[0] for name in layer}
    assert {name.partition("-")[0] for name in packages(folder)} == {
        "python_slugify",
        "text_unidecode",
        "httpx",
        "httpcore",
    }
    assert not packages(folder) & layer


def test_the_same_function_beside_the_lean_layer_brings_what_only_the_full_one_has(source: Path) -> None:
    folder = made(source, "pydantic\naiobotocore", Target("lean", "arm64", "3.12"))
    names = {name.partition("-")[0] for name in packages(folder)}
    assert "pydantic" in names
    assert "aiobotocore" not in names


@pytest.mark.parametrize(
    ("requirements", "reason"),
    [
        (WITHOUT_WHEELS, "docopt"),
        ("pywin32", "manylinux"),
        ("openai<2", "openai"),
        ("a-package-that-nobody-made==1", "not found"),
        ("text-unidecode==1.3 --hash=sha256:" + 64 * "0", "Hash mismatch"),
        ("-e ./mine", "mine"),
        ("two words here", "requirements.txt"),
    ],
    ids=[
        "no wheel",
        "no wheel for the target",
        "another version than the layer's",
        "unknown",
        "hash",
        "local",
        "syntax",
    ],
)
def test_what_cannot_be_had_is_an_error_that_names_it_and_leaves_no_artifact(
    source: Path, requirements: str, reason: str
) -> None:
    with pytest.raises(BuildError, match=r"requirements\.txt asks for what there are no wheels for arm64") as caught:
        made(source, requirements)
    assert reason in str(caught.value)
    assert not list((source.parent / "artifact").glob("*.py"))


def test_a_package_that_would_take_the_place_of_the_functions_own_module_is_refused(source: Path) -> None:
    (source / "slugify.py").touch()
    with pytest.raises(BuildError, match=r"slugify: .*python-slugify"):
        made(source, PURE)


def test_sam_builds_one_function_alone_with_the_parameters_it_is_given(tmp_path: Path) -> None:
    built = tmp_path / "build"
    parameters = overrides({"Architecture": "arm64", "PythonVersion": "3.12"})
    printed = sam("build", "AgentFunction", "--build-dir", str(built), *parameters)
    assert "Build Succeeded" in printed
    own = {path.as_posix() for path in functions.files(ROOT / "functions" / "agent")}
    assert own <= {
        path.relative_to(built / "AgentFunction").as_posix() for path in (built / "AgentFunction").rglob("*")
    }
    extension = next((built / "SessionLayer").rglob("*.so"))
    assert binaries.machine(extension.read_bytes()) == binaries.MACHINES["arm64"]


def test_sam_build_installs_what_a_function_asks_for(source: Path, tmp_path: Path) -> None:
    makefile = (ROOT / "functions" / "agent" / "Makefile").read_text()
    (source / "Makefile").write_text(makefile.replace("../../tools", str(ROOT / "tools")))
    (source / "requirements.txt").write_text(f"{COMPILED}\n{PURE}\n{OF_THE_LAYER}\n")
    (source / "app.py").write_text(
        "import rapidfuzz, slugify, httpx\n\ndef handler(event, context):\n    return 'hello'\n"
    )
    (tmp_path / "template.yaml").write_text(f"""
Transform: AWS::Serverless-2016-10-31
Resources:
  AgentFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: function
      Handler: app.handler
      Runtime: python{rie.python_version()}
      Architectures: [{rie.architecture()}]
    Metadata:
      BuildMethod: makefile
""")
    built = tmp_path / "build"
    sam("build", "--template-file", str(tmp_path / "template.yaml"), "--build-dir", str(built))
    layer = build.build(Target(arch=rie.architecture(), python=rie.python_version())) / "python"
    path = f"{built / 'AgentFunction'}:{layer}"
    interpreter = interpreters.find(rie.python_version()) or sys.executable
    command = [
        str(interpreter),
        "-c",
        "import app, rapidfuzz; print(app.handler({}, None), rapidfuzz.fuzz.ratio('a', 'a'))",
    ]
    done = subprocess.run(command, env=environ() | {"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hello", "100.0"]


@pytest.mark.parametrize(
    ("command", "architecture", "python"),
    [
        ("", "x86_64", "3.13"),
        ("build AgentFunction", "x86_64", "3.13"),
        ("build AgentFunction --parameter-overrides Architecture=arm64 PythonVersion=3.12", "arm64", "3.12"),
        (
            "build --parameter-overrides ParameterKey=Architecture,ParameterValue=arm64 --parallel AgentFunction",
            "arm64",
            "3.13",
        ),
        ("build AgentFunction --parameter-overrides Architecture=arm64 --parallel", "arm64", "3.13"),
    ],
)
def test_parameters_are_read_from_where_sam_has_them(command: str, architecture: str, python: str) -> None:
    known = sam_build.parameters(command.split())
    assert (known["Architecture"], known["PythonVersion"]) == (architecture, python)


def test_parameters_of_samconfig_count_where_the_command_line_has_none(tmp_path: Path) -> None:
    config = tmp_path / "samconfig.toml"
    config.write_text('[prod.global.parameters]\nparameter_overrides = ["Architecture=arm64", "ModelName=x y"]\n')
    words = ["build", "AgentFunction", "--config-file", str(config), "--config-env", "prod"]
    assert sam_build.parameters(words)["Architecture"] == "arm64"
    assert sam_build.parameters([*words, "--parameter-overrides", "PythonVersion=3.12"])["Architecture"] == "x86_64"


def test_a_parameter_override_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(BuildError, match=re.escape("file://overrides.json")):
        sam_build.parameters(["build", "AgentFunction", "--parameter-overrides", "file://overrides.json"])
