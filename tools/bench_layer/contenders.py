"""The layers that are compared: ours, the same pins as stock builds make them, and the floor."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools import environment, interpreters
from tools.emulation import rie
from tools.emulation.sam import sam
from tools.layers import assemble, build, functions
from tools.layers.assemble import ROOT, SOURCE, Target

FUNCTION = ROOT / "functions" / "agent"
HANDLERS = Path(__file__).parent / "handlers"
FOLDER = ROOT / ".work" / "bench-layer"

PUBLISHED = "pip install --target, with its bytecode"
"""The packages as their authors publish them, with bytecode, since pip makes it."""

_STOCK_TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Layer:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: source
      CompatibleRuntimes: [python{python}]
      CompatibleArchitectures: [{arch}]
    Metadata:
      BuildMethod: {method}
      BuildArchitecture: {arch}
"""

_STOCK_MAKEFILE = """
build-Layer:
\t{uv} pip install --quiet --target "$(ARTIFACTS_DIR)/python" --python-platform {platform} --python-version {python} \\
\t\t--only-binary :all: --requirement requirements.txt
"""


@dataclass(frozen=True)
class Contender:
    """A layer with a function that runs on it.

    Attributes:
        name: What the tables call it.
        layer: The folder that goes into the import path.
        handler: Module and function.
        function: The function's folder.
    """

    name: str
    layer: Path
    handler: str
    function: Path


def prepare(target: Target) -> list[Contender]:
    """Make every contender, each from the same lock and the same wheel of the library.

    Args:
        target: The runtime and processor of this machine.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    environment.bootstrap()
    requirements = _requirements(target)
    compiled = FOLDER / "function"
    compiled.mkdir()
    functions.make(FUNCTION, compiled, target)
    plain = FOLDER / "plain-function"
    shutil.copytree(FUNCTION, plain, ignore=shutil.ignore_patterns("__pycache__"))
    makers: dict[str, Callable[[Path, Target, str], Path]] = {
        PUBLISHED: _by_pip,
        f"sam build, BuildMethod: python{target.python}": _by_sam,
        "sam build, BuildMethod: makefile": _by_makefile,
    }
    stock = []
    for number, (name, make) in enumerate(makers.items()):
        folder = FOLDER / f"stock-{number}"
        folder.mkdir()
        stock.append(Contender(name, make(folder, target, requirements), "app.handler", plain))
    ours = Contender("ours", build.build(target).resolve() / "python", "app.handler", compiled)
    return [*stock, ours, Contender("floor: bare imports", _floor(target), "bare.handler", _compiled_handlers(target))]


def unzipped_and_zipped(layer: Path) -> tuple[int, int]:
    """A layer's sizes in bytes."""
    archive = FOLDER / "size.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(path for path in layer.rglob("*") if path.is_file()):
            packed.write(path, path.relative_to(layer.parent))
    return build.size_of(layer), archive.stat().st_size


def _requirements(target: Target) -> str:
    """The lock, and the library's wheel beside it."""
    wheel = assemble.wheel(FOLDER)
    lock = (SOURCE / assemble.VARIANTS[target.variant]).read_text()
    digest = subprocess.run(["sha256sum", wheel], check=True, capture_output=True, text=True).stdout.split()[0]
    return f"{lock}\n{wheel} --hash=sha256:{digest}\n"


def _by_pip(folder: Path, target: Target, requirements: str) -> Path:
    (folder / "requirements.txt").write_text(requirements)
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(folder / "python"))
    _run(_python(target), "-m", "pip", "install", *options, "--requirement", str(folder / "requirements.txt"))
    return folder / "python"


def _by_sam(folder: Path, target: Target, requirements: str) -> Path:
    return _build_stock(folder, target, requirements, f"python{target.python}")


def _by_makefile(folder: Path, target: Target, requirements: str) -> Path:
    platform = assemble.ARCHITECTURES[target.arch]
    makefile = _STOCK_MAKEFILE.format(uv=environment.UV, platform=platform, python=target.python)
    return _build_stock(folder, target, requirements, "makefile", makefile)


def _build_stock(folder: Path, target: Target, requirements: str, method: str, makefile: str | None = None) -> Path:
    source = folder / "source"
    source.mkdir()
    (source / "requirements.txt").write_text(requirements)
    if makefile:
        (source / "Makefile").write_text(makefile)
    template = folder / "template.yaml"
    template.write_text(_STOCK_TEMPLATE.format(python=target.python, arch=target.arch, method=method))
    sam(
        "build", "--template", str(template), "--build-dir", str(folder / "build"), first_on_path=_python(target).parent
    )
    return folder / "build" / "Layer" / "python"


def _floor(target: Target) -> Path:
    """The packages whole and compiled whole: nothing that helps is left out."""
    tree = FOLDER / "floor" / "python"
    assemble.install(target, tree)
    modules = [path.relative_to(tree).as_posix() for path in tree.rglob("*.py")]
    assemble.compile_bytecode(tree, target.python, "/opt/python", modules)
    return tree


def _compiled_handlers(target: Target) -> Path:
    folder = FOLDER / "handlers"
    folder.mkdir()
    functions.make(HANDLERS, folder, target)
    return folder


def _python(target: Target) -> Path:
    found = interpreters.find(target.python)
    if found is None:
        raise LookupError(f"no Python {target.python} here")
    return found


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(rie.ROOT / ".work")}, cwd=FOLDER)
