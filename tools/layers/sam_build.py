"""What `sam build` does not tell a makefile: the processor and the runtime of what it builds.

Before a build of everything, SAM writes both, with the template's parameters filled in, into a build.toml beside the
artifacts. A build of one resource, `sam build AgentFunction`, writes none and leaves an older one as it is: then the
parameters are read from where SAM has them, which is its command line, samconfig.toml and the template's defaults.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.layers.assemble import ROOT, BuildError, Target

_OVERRIDE = re.compile(r"(?:ParameterKey=)?(\w+)(?:,ParameterValue)?=(.*)", re.DOTALL)
_BETWEEN = re.compile(r"\s+(?=\w+=)")  # two overrides in one word: a value may have spaces
_DEFAULT = re.compile(r"^  (\w+):\n(?:    .*\n)*?    Default: \"?([^\"\n]*)\"?$", re.MULTILINE)


def target(resource: str, artifacts: Path, variant: str) -> Target:
    """What a resource of the template is built for.

    Args:
        resource: Its logical id.
        artifacts: Its folder, which SAM made.
        variant: Which of the layers it is, or has.

    Raises:
        BuildError: SAM's build.toml does not know it, or the template names several runtimes.
    """
    arguments = next(filter(None, map(_sams, _ancestors(os.getppid()))), [])
    written = artifacts.parent.parent / "build.toml"
    if written.exists() and not _names_a_resource(arguments):
        definitions = tomllib.loads(written.read_text())
        if found := _definition(definitions, resource):
            return Target(variant, found["architecture"], python_of(found["runtimes"]))
    known = parameters(arguments)
    return Target(variant, known["Architecture"], known["PythonVersion"])


def _names_a_resource(arguments: list[str]) -> bool:
    resources = (ROOT / "template.yaml").read_text().partition("\nResources:\n")[2]
    return bool(set(arguments) & set(re.findall(r"^  (\w+):", resources, re.MULTILINE)))


def _definition(definitions: dict[str, Any], resource: str) -> dict[str, Any] | None:
    for function in definitions.get("function_build_definitions", {}).values():
        if resource in function["functions"]:
            return {"architecture": function["architecture"], "runtimes": [function["runtime"]]}
    for layer in definitions.get("layer_build_definitions", {}).values():
        if resource == layer["layer_name"]:
            return {"architecture": layer["architecture"], "runtimes": layer["compatible_runtimes"]}
    return None


def python_of(runtimes: list[Any]) -> str:
    """The minor Python version of a resource; binaries and bytecode are for one runtime.

    Args:
        runtimes: Lambda's names of its runtimes.

    Raises:
        BuildError: There are several.
    """
    if len(runtimes) != 1:
        raise BuildError(f"a layer is for one runtime; the template names {len(runtimes)}")
    return str(runtimes[0]).removeprefix("python")


def parameters(arguments: list[str]) -> dict[str, str]:
    """The template's parameters as SAM has them.

    Args:
        arguments: SAM's command line, from its command on; empty if it is not known.

    Raises:
        BuildError: They are given in a form that cannot be read here.
    """
    template = (ROOT / "template.yaml").read_text().partition("\nRules:")[0]
    return dict(_DEFAULT.findall(template)) | _overrides(arguments)


def _sams(command: list[str]) -> list[str]:
    """The arguments of a SAM CLI, if a command line is one: it may begin with an interpreter."""
    places = [index for index, word in enumerate(command[:3]) if Path(word).name in ("sam", "samcli")]
    return command[places[0] + 1 :] if places else []


def _overrides(arguments: list[str]) -> dict[str, str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--parameter-overrides", nargs="*", action="extend")
    parser.add_argument("--config-file", type=Path, default=ROOT / "samconfig.toml")
    parser.add_argument("--config-env", default="default")
    known, _rest = parser.parse_known_args(arguments)
    words = known.parameter_overrides
    if words is None:
        words = _configured(ROOT / known.config_file, known.config_env, arguments[0] if arguments else "build")
    return dict(_pair(word) for text in words for word in _BETWEEN.split(text.strip()) if word)


def _pair(word: str) -> tuple[str, str]:
    pair = _OVERRIDE.fullmatch(word)
    if pair is None:
        raise BuildError(f"a build of one resource cannot read the parameter override {word!r}: write it as NAME=VALUE")
    return pair[1], pair[2].strip("\"'")


def _configured(file: Path, environment: str, command: str) -> list[str]:
    if not file.exists():
        return []
    sections = tomllib.loads(file.read_text()).get(environment, {})
    for section in (command, "global"):
        words = sections.get(section, {}).get("parameters", {}).get("parameter_overrides")
        if words is not None:
            return [words] if isinstance(words, str) else list(words)
    return []


def _ancestors(process: int) -> Iterator[list[str]]:
    """The command lines of a process and of those that started it."""
    while process > 1 and (told := _from_proc(process) or _from_ps(process)):
        process, command = told
        yield command


def _from_proc(process: int) -> tuple[int, list[str]] | None:
    """Its parent and its command line, as Linux tells them: there a minimal system has no `ps`."""
    folder = Path("/proc") / str(process)
    try:
        # The name before the parent's number is in brackets, and may hold any character.
        parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        return int(parent), (folder / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return None


def _from_ps(process: int) -> tuple[int, list[str]] | None:
    """The same elsewhere, where the command line comes without the borders of its words: spaces must do."""
    asked = ["ps", "-o", "ppid=,args=", "-p", str(process)]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return None
    parent, _, command = told.strip().partition(" ")
    return (int(parent), command.split()) if parent.isdigit() else None
