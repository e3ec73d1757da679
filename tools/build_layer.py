"""Build the layer. Needs Python and the package registry; no Docker, no Lambda runtime, nothing installed before.

    python3 tools/build_layer.py                                     # .work/layer/x86_64-3.13/{python,layer.zip}
    python3 tools/build_layer.py --variant lean --arch arm64 --python 3.12
    python3 tools/build_layer.py --for-sam SessionLayer .aws-sam/build/SessionLayer

With `--for-sam` it builds one resource of the template, as `sam build` asks for it through a Makefile. SAM tells a
makefile neither architecture nor runtime, but before it starts it writes both, with the template's parameters filled
in, into the build.toml beside its artifacts.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if sys.version_info < (3, 11):  # noqa: UP036 - people build with whatever their `python3` is
    sys.exit(
        "not built: {} is Python {}.{}; the builder needs 3.11 or newer as python3 on PATH".format(
            sys.executable, *sys.version_info[:2]
        )
    )

import tomllib

from tools import interrupts
from tools.layers import assemble, build


def main() -> int:
    """Build what the command line names."""
    arguments = _arguments()
    try:
        if arguments.for_sam:
            for_sam(arguments.for_sam[0], Path(arguments.for_sam[1]), arguments.variant)
        else:
            print(build.report(assemble.Target(arguments.variant, arguments.arch, arguments.python)))
    except (assemble.BuildError, subprocess.CalledProcessError) as error:
        print(f"\nnot built: {error}", file=sys.stderr)
        return 1
    return 0


def for_sam(resource: str, artifacts: Path, variant: str) -> None:
    """Build a layer or a function of the template into SAM's folder for its artifacts.

    Args:
        resource: The resource's logical id.
        artifacts: The folder, which SAM made.
        variant: Of a layer, ``"full"`` or ``"lean"``.
    """
    definitions = tomllib.loads((artifacts.parent.parent / "build.toml").read_text())
    for function in definitions.get("function_build_definitions", {}).values():
        if resource in function["functions"]:
            return assemble.make_function(Path(function["codeuri"]), artifacts, python_of([function["runtime"]]))
    for layer in definitions.get("layer_build_definitions", {}).values():
        if resource == layer["layer_name"]:
            target = assemble.Target(variant, layer["architecture"], python_of(layer["compatible_runtimes"]))
            shutil.copytree(build.build(target) / "python", artifacts / "python", dirs_exist_ok=True)
            return None
    raise assemble.BuildError(f"SAM's build.toml knows no {resource}")


def python_of(runtimes: list[Any]) -> str:
    """The minor Python version of a resource; binaries and bytecode are for one runtime.

    Args:
        runtimes: Lambda's names of its runtimes.

    Raises:
        assemble.BuildError: There are several.
    """
    if len(runtimes) != 1:
        raise assemble.BuildError(f"a layer is for one runtime; the template names {len(runtimes)}")
    return str(runtimes[0]).removeprefix("python")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the layer into .work/layer.")
    parser.add_argument("--variant", choices=assemble.VARIANTS, default="full")
    parser.add_argument("--arch", choices=assemble.ARCHITECTURES, default="x86_64")
    parser.add_argument("--python", choices=assemble.PYTHONS, default="3.13", help="the runtime (default: %(default)s)")
    parser.add_argument("--for-sam", nargs=2, metavar=("RESOURCE", "FOLDER"), help="called by layer/Makefile")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
