"""What the layer loads later is, once it is asked for, what stock packages have: the same names, the same objects."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.e2e.test_layer import in_interpreter, machine
from tools import interpreters
from tools.layers import assemble, build, deferrals
from tools.layers.assemble import ARCHITECTURES, PYTHONS, SOURCE, Target

DEFERRED = deferrals.read(SOURCE / "deferred.toml")
MODULES = [entry.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for entry in DEFERRED]
NEWEST = interpreters.best("3.13")


def interpreter_of(version: str) -> Path:
    """The interpreter of a version, or a skip that says that there is none."""
    interpreter = interpreters.find(version)
    if interpreter is None:
        pytest.skip(f"there is no Python {version} here")
    return interpreter


@functools.cache
def layer(python: str) -> Path:
    """The built layer's packages."""
    return build.build(Target(arch=machine(), python=python)).resolve() / "python"


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same packages as their authors publish them, compiled."""
    tree = tmp_path_factory.mktemp("stock")
    target = Target(arch=machine())
    assemble.install(target, tree)
    assemble.compile_bytecode(tree, target.python, str(tree), assemble.hot_modules())
    return tree


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_deferral_is_applied_for_every_target(arch: str, python: str) -> None:
    interpreter_of(python)  # compiles it
    tree = build.build(Target(arch=arch, python=python)) / "python"
    as_it_is = [entry.path for entry in DEFERRED if "_deferred_names.install(" not in (tree / entry.path).read_text()]
    assert as_it_is == []


WITHOUT = """
import json, sys
sys.path.insert(0, sys.argv[1])
before = [*sys.meta_path, *sys.path_hooks]
import agents, aiobotocore.session
print(json.dumps({
    "loaded": sorted({"mcp", "mcp_types", "uvicorn", "starlette"} & set(sys.modules)),
    "hooks": [type(hook).__name__ for hook in (*sys.meta_path, *sys.path_hooks) if hook not in before],
}))
"""


@pytest.mark.parametrize("python", PYTHONS)
def test_an_agent_without_mcp_loads_none_of_it_and_nothing_hooks_into_imports(python: str) -> None:
    assert in_interpreter(interpreter_of(python), WITHOUT, str(layer(python)), options=("-I", "-S", "-B")) == {
        "loaded": [],
        "hooks": ["_SixMetaPathImporter"] * 2,  # of six, as stock packages bring it
    }


SURFACE = """
import importlib, json, pickle, sys, types, typing
sys.path.insert(0, sys.argv[1])
name = sys.argv[2]

def said(value):
    if isinstance(value, types.ModuleType):
        return "module " + value.__name__
    where = (getattr(value, "__module__", None), getattr(value, "__qualname__", None))
    return repr(where) if where[1] else type(value).__name__

def hints(value):
    try:
        return sorted(typing.get_type_hints(value))
    except Exception as error:
        return type(error).__name__

def pickled(value):
    try:
        return pickle.loads(pickle.dumps(value)) is value
    except Exception as error:
        return type(error).__name__

module = importlib.import_module(name)
listed = dir(module)
star = {}
exec(f"from {name} import *", star)
own = [each for each in listed if not each.startswith("__")]
values = {each: getattr(module, each) for each in own}
callables = {each: value for each, value in values.items() if isinstance(value, (type, types.FunctionType))}
print(json.dumps({
    "dir": listed,
    "star": sorted(set(star) - {"__builtins__"}),
    "values": {each: said(value) for each, value in values.items()},
    "annotations": sorted(getattr(module, "__annotations__", {})),
    "hints": {each: hints(value) for each, value in callables.items()},
    "pickled": {each: pickled(value) for each, value in callables.items()},
    "file": module.__file__.removeprefix(sys.argv[1]),
}))
"""


@pytest.mark.parametrize("module", MODULES)
def test_a_rewritten_module_shows_what_the_stock_one_shows(module: str, stock: Path) -> None:
    shown = [
        in_interpreter(interpreter_of("3.13"), SURFACE, str(tree), module, options=("-I", "-S", "-B"))
        for tree in (stock, layer("3.13"))
    ]
    assert shown[1] == shown[0]


FIRST_USE = """
import importlib, json, os, sys, threading
sys.path.insert(0, sys.argv[1])
import agents, aiohttp
from agents import run_state
from agents.mcp import _compat, util
from aiohttp import connector
from openai import types

USES = {
    "an error": lambda: (util.MCPError, _compat.MCPError, _compat.mcp_error_code(ValueError())),
    "a context": lambda: (connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED),
    "adapters": lambda: (run_state._HANDOFF_OUTPUT_ADAPTER, run_state._TOOL_APPROVAL_MODEL_ADAPTERS),
    "types": lambda: (types.Batch, types.image.Image, types.Image, types.graders.MultiGrader, types.VideoSize),
    "servers": lambda: (agents.mcp.MCPServerStdio, agents.mcp.MCPServerManager),
}

def seen_by_threads():
    threads, barrier, results = 16, threading.Barrier(16), []
    def use(number):
        barrier.wait()
        order = list(USES)
        order = order[number % len(order):] + order[:number % len(order)]
        results.append({name: [id(each) for each in USES[name]()] for name in order})
    running = [threading.Thread(target=use, args=(number,), daemon=True) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    return len(results), all(result == results[0] for result in results)
"""

BY_THREADS = FIRST_USE + "\nprint(json.dumps(seen_by_threads()))"

AROUND_FORKS = (
    FIRST_USE
    + """
def child(seen):
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.write(writing, json.dumps(seen()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(process, 0)
    return json.loads(text)

before = child(seen_by_threads)  # of a process that has used nothing yet
using = threading.Thread(target=seen_by_threads)
using.start()
amid = [child(lambda: USES["a context"]() and 1) for _ in range(20)]
using.join()
parents = {name: [id(each) for each in use()] for name, use in USES.items()}
after = child(lambda: {name: [id(each) for each in use()] for name, use in USES.items()} == parents)
print(json.dumps([before, amid, after]))
"""
)


@pytest.mark.parametrize("python", PYTHONS)
def test_threads_that_use_names_first_and_at_once_see_the_same_objects(python: str) -> None:
    for _ in range(3):
        seen = in_interpreter(interpreter_of(python), BY_THREADS, str(layer(python)), options=("-I", "-S", "-B"))
        assert seen == [16, True]


@pytest.mark.parametrize("python", PYTHONS)
def test_a_fork_before_amid_and_after_the_first_use_leaves_both_processes_whole(python: str) -> None:
    seen = in_interpreter(interpreter_of(python), AROUND_FORKS, str(layer(python)), options=("-I", "-S", "-B"))
    assert seen == [[16, True], [1] * 20, True]


EACH_FIRST = """
import importlib, json, os, pathlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import pydantic, openai._models  # what all of them need
failed, count = [], 0
for package in sys.argv[2:]:
    folder = pathlib.Path(sys.argv[1], *package.split("."))
    for found in pkgutil.iter_modules([str(folder)], package + "."):
        count += 1
        if not (process := os.fork()):
            try:
                module = importlib.import_module(found.name)
                attribute = getattr(importlib.import_module(package), found.name.rpartition(".")[2])
                os._exit(0 if attribute is module else 1)
            except BaseException as error:
                print(found.name, repr(error), file=sys.stderr)
            os._exit(1)
        if os.waitpid(process, 0)[1]:
            failed.append(found.name)
print(json.dumps([count, failed]))
"""


def test_each_of_openais_types_can_be_the_first_that_is_imported() -> None:
    packages = [module for module in MODULES if module.startswith("openai.types")]
    arguments = (str(layer("3.13")), *packages)
    count, failed = in_interpreter(interpreter_of("3.13"), EACH_FIRST, *arguments, options=("-I", "-S", "-B"))
    assert count > 400
    assert failed == []


def test_a_file_that_is_not_the_known_one_is_told_by_the_build(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "aiohttp").mkdir()
    (tmp_path / "aiohttp" / "connector.py").write_text("# another version\n")
    (sentence,) = deferrals.apply(DEFERRED, tmp_path)
    assert "aiohttp stays as it is" in sentence
    assert (tmp_path / "aiohttp" / "connector.py").read_text() == "# another version\n"
