"""Rewrite a module so that some of its names are made at their first use, see `deferred_names`.

A name can be deferred if one simple statement of the module's top level binds it, and nothing but bodies of functions
uses it: then nobody notices when it is made. All else is refused. Lines keep their numbers, so that tracebacks show the
right ones: what is deferred becomes blank, and is said again at the end.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

HELPER = "deferred_names"

ALL_IMPORTS = "*"
"""Stands for every name that the module imports from its own package."""

_Import = tuple[str, str | None, int]
_Assignment = ast.Assign | ast.AnnAssign
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_BINDERS = (ast.alias, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_HOOKS = ("__getattr__", "__dir__")


class NotDeferrableError(Exception):
    """A name cannot be deferred without somebody noticing."""


@dataclass
class _Deferred:
    """What is deferred.

    Attributes:
        imports: By name, an import statement's module, name in it (None: the module itself), and level; the last of
            several, as at run time.
        values: By name, the statement that assigns it.
        aliases: The parts of import statements that ``imports`` stands for.
        remains: Every statement that changes, with what stays of it.
    """

    imports: dict[str, _Import] = field(default_factory=dict)
    values: dict[str, _Assignment] = field(default_factory=dict)
    aliases: set[ast.AST] = field(default_factory=set)
    remains: list[tuple[ast.stmt, str]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {*self.imports, *self.values}


def defer(source: str, names: Iterable[str], submodules: Iterable[str] = (), *, package: bool) -> str:
    """Rewrite a module.

    Args:
        source: The module's code.
        names: What to defer; ``"*"`` for every name that it imports from its own package.
        submodules: Those that what is deferred would have loaded, beside the ones that it names.
        package: Whether the module is a package's ``__init__``.

    Returns:
        The new code.

    Raises:
        NotDeferrableError: A name is not bound as it has to be, or is used before it would be made.
    """
    tree, wanted = ast.parse(source), set(names)
    if any(getattr(statement, "name", None) in _HOOKS for statement in tree.body):
        raise NotDeferrableError("the module has a __getattr__ or __dir__ of its own")
    deferred = _bindings(tree, wanted, package=package)
    if missing := wanted - deferred.names - {ALL_IMPORTS}:
        raise NotDeferrableError(f"no simple statement binds {', '.join(sorted(missing))}")
    _check_bindings(tree, deferred)
    _check_scopes(symtable.symtable(source, "module", "exec"), deferred.names)
    lines = source.encode().split(b"\n")
    for node in sorted(_uses(tree, deferred), key=lambda node: (node.lineno, node.col_offset), reverse=True):
        line = lines[node.lineno - 1]
        lines[node.lineno - 1] = line[: node.col_offset] + b"_deferred." + line[node.col_offset :]
    assignments = {name: b"\n".join(lines[_span(statement)]).decode() for name, statement in deferred.values.items()}
    for statement, remains in deferred.remains:
        span = _span(statement)
        lines[span] = [remains.encode(), *[b""] * (span.stop - span.start - 1)]
    of_package = sorted({*_submodules(deferred), *submodules} - deferred.names) if package else []
    return "\n".join([*(line.decode() for line in lines), *_tail(deferred.imports, assignments, of_package)])


def _bindings(tree: ast.Module, wanted: set[str], *, package: bool) -> _Deferred:
    deferred = _Deferred()
    for statement in tree.body:
        match statement:
            case ast.ImportFrom(module=module, names=aliases, level=level):
                taken = [alias for alias in aliases if _is_wanted(alias, level, wanted)]
                for alias in taken:
                    of_package = package and level == 1 and module is None  # `from . import submodule`
                    found = (alias.name, None, 1) if of_package else (module or "", alias.name, level)
                    deferred.imports[alias.asname or alias.name] = found
                deferred.aliases.update(taken)
                if taken:
                    rest = [alias for alias in aliases if alias not in taken]
                    deferred.remains.append((statement, _import_from(module, rest, level)))
            case ast.Import(names=[ast.alias(name=name, asname=asname) as alias]) if (asname or name) in wanted:
                deferred.aliases.add(alias)
                deferred.imports[asname or name] = (name, None, 0)
                deferred.remains.append((statement, ""))
            case ast.Assign(targets=[ast.Name(id=name)]) if name in wanted:
                deferred.values[name] = statement
                deferred.remains.append((statement, ""))
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr()) if name in wanted:
                deferred.values[name] = statement
                deferred.remains.append((statement, f"{name}: {ast.unparse(annotation)}"))
    return deferred


def _is_wanted(alias: ast.alias, level: int, wanted: set[str]) -> bool:
    return alias.name != "*" and ((alias.asname or alias.name) in wanted or (ALL_IMPORTS in wanted and level == 1))


def _import_from(module: str | None, aliases: list[ast.alias], level: int) -> str:
    return ast.unparse(ast.ImportFrom(module, aliases, level)) if aliases else ""


def _check_bindings(tree: ast.Module, deferred: _Deferred) -> None:
    """Refuse a name that more than one statement binds, and a statement that shares its lines with another."""
    for node in ast.walk(tree):
        if not isinstance(node, _BINDERS) or node in deferred.aliases:
            continue
        if (name := getattr(node, "asname", None) or node.name) in deferred.names:
            raise NotDeferrableError(f"line {node.lineno} binds {name} too")
    if both := {*deferred.imports} & {*deferred.values}:
        raise NotDeferrableError(f"{', '.join(sorted(both))}: both imported and assigned")
    for statement, _ in deferred.remains:
        on_its_lines = [other for other in tree.body if _overlap(_span(statement), _span(other))]
        if on_its_lines != [statement]:
            raise NotDeferrableError(f"line {statement.lineno}: the statement shares its line with another")


def _overlap(one: slice, other: slice) -> bool:
    return bool(one.start < other.stop and other.start < one.stop)


def _check_scopes(table: symtable.SymbolTable, names: set[str]) -> None:
    """Refuse a name that means something else in some function or class, or is bound anew there."""
    for scope in table.get_children():
        for symbol in scope.get_symbols():
            if symbol.get_name() in names and (symbol.is_assigned() or not symbol.is_global()):
                raise NotDeferrableError(f"{scope.get_name()} binds {symbol.get_name()} itself")
        _check_scopes(scope, names)


def _uses(tree: ast.Module, deferred: _Deferred) -> Iterator[ast.Name]:
    """Where deferred names are read: in bodies of functions, and in what is deferred itself."""
    later: set[ast.AST] = set()
    for value in (statement.value for statement in deferred.values.values()):
        later.update(ast.walk(value) if value else ())
    for function in (node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)):
        body = function.body if isinstance(function.body, list) else [function.body]
        later.update(node for statement in body for node in ast.walk(statement))
    for text in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
        later.difference_update(ast.walk(text))  # before Python 3.12, what is in an f-string has no exact place
    bindings = {_target(statement) for statement in deferred.values.values()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in deferred.names and node not in bindings:
            if node not in later or not isinstance(node.ctx, ast.Load):
                raise NotDeferrableError(f"line {node.lineno} needs {node.id} at once, or binds it again")
            yield node


def _target(statement: _Assignment) -> ast.expr:
    return statement.targets[0] if isinstance(statement, ast.Assign) else statement.target


def _span(statement: ast.stmt) -> slice:
    assert statement.end_lineno is not None, "parsed, hence with places"
    return slice(statement.lineno - 1, statement.end_lineno)


def _submodules(deferred: _Deferred) -> set[str]:
    """Submodules that deferred imports would have loaded."""
    return {module.partition(".")[0] for module, _, level in deferred.imports.values() if level == 1 and module}


def _tail(imports: dict[str, _Import], assignments: dict[str, str], submodules: list[str]) -> Iterator[str]:
    """What makes the names, at the module's end."""
    yield ""
    yield "# Changed when the layer was built: what follows stood above, and is now made at its first use."
    yield f"import {HELPER} as _{HELPER}"
    for name, assignment in assignments.items():
        # The statement as it was, but local; its further lines need no indent, since they are within parentheses.
        yield f"def _make_{name}():\n    {assignment}\n    return {name}"
    yield f"_deferred = _{HELPER}.install(globals(), {{"
    yield from (f"    {name!r}: {target!r}," for name, target in imports.items())
    yield f"}}, {{{', '.join(f'{name!r}: _make_{name}' for name in assignments)}}}, {submodules!r})"
    yield from (f"del _make_{name}" for name in assignments)
    yield ""
