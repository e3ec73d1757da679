"""Build the layer. Needs Python and the package registry; no Docker, no Lambda runtime, nothing installed before.

    python3 tools/build_layer.py                                     # .work/layer/x86_64-3.13/{python,layer.zip}
    python3 tools/build_layer.py --variant lean --arch arm64 --python 3.12
    python3 tools/build_layer.py --for-sam SessionLayer .aws-sam/build/SessionLayer

With `--for-sam` it builds one resource of the template, a layer or a function, as `sam build` asks for it through a
makefile. For a function, `--variant` says which of the layers it has: what is in there is not installed again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if sys.version_info < (3, 11):  # noqa: UP036 - people build with whatever their `python3` is
    sys.exit(
        "not built: {} is Python {}.{}; the builder needs 3.11 or newer as python3 on PATH".format(
            sys.executable, *sys.version_info[:2]
        )
    )

from tools import interrupts
from tools.layers import assemble, build, functions, sam_build


def main() -> int:
    """Build what the command line names."""
    arguments = _arguments()
    try:
        if arguments.for_sam:
            for_sam(arguments.for_sam[0], Path(arguments.for_sam[1]), arguments.variant, arguments.function)
        else:
            print(build.report(assemble.Target(arguments.variant, arguments.arch, arguments.python)))
    except (assemble.BuildError, subprocess.CalledProcessError) as error:
        print(f"\nnot built: {error}", file=sys.stderr)
        return 1
    return 0


def for_sam(resource: str, artifacts: Path, variant: str, function: Path | None) -> None:
    """Build a layer or a function of the template into SAM's folder for its artifacts.

    Args:
        resource: The resource's logical id.
        artifacts: The folder, which SAM made.
        variant: Of the layer, or of the one that the function has: ``"full"`` or ``"lean"``.
        function: The folder with the function; None for a layer.
    """
    target = sam_build.target(resource, artifacts, variant)
    print(f"{resource}: for {target.arch}, Python {target.python}")
    if function:
        with build.alone():  # who comes first sets up the installer
            functions.make(function, artifacts, target)
    else:
        shutil.copytree(build.build(target) / "python", artifacts / "python", dirs_exist_ok=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the layer into .work/layer.")
    parser.add_argument("--variant", choices=assemble.VARIANTS, default="full")
    parser.add_argument("--arch", choices=assemble.ARCHITECTURES, default="x86_64")
    parser.add_argument("--python", choices=assemble.PYTHONS, default="3.13", help="the runtime (default: %(default)s)")
    parser.add_argument("--for-sam", nargs=2, metavar=("RESOURCE", "FOLDER"), help="called by the Makefiles")
    parser.add_argument("--function", type=Path, metavar="FOLDER", help="with --for-sam: the function's own folder")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
