"""What is wrong with an example in Python that is not run: names, arguments and settings that do not exist."""

from __future__ import annotations

import ast
import builtins
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any

from emailqueue.conf import Settings
from emailqueue.enqueue.call import Common, PerCall

PACKAGES = ("emailqueue", "events")
GIVEN = {"BASE_DIR"}
"""Names that the settings of every project have, for examples that are added to them."""
OPTIONS = {"Common": Common, "PerCall": PerCall}
"""Names in annotations that the package imports for type checkers alone."""
KEYS = {field.name.upper() for field in fields(Settings)}


def faults(source: str) -> list[str]:
    """Return, line by line, what of ours `source` names that does not exist, and which names it never binds."""
    try:
        tree = ast.parse(source)
        compile(tree, "example", "exec")
    except SyntaxError as error:
        return [f"{error.lineno}: {error.msg}"]
    known: dict[str, Any] = {}
    found = [*_imports(tree, known), *_unbound(tree)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += [(node.lineno, sentence) for sentence in _arguments(node, known)]
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            found += [(node.lineno, sentence) for sentence in _settings(node.targets[0], node.value)]
    return [f"{line}: {sentence}" for line, sentence in sorted(found)]


def _imports(tree: ast.AST, known: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Import what `tree` imports of ours into `known`, by the names that it has there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES:
            for alias in node.names:
                try:
                    known[alias.asname or alias.name] = _member(node.module, alias.name)
                except ImportError:
                    yield node.lineno, f"There is no {alias.name} in {node.module}."
        if isinstance(node, ast.Import) and any(alias.name.partition(".")[0] in PACKAGES for alias in node.names):
            yield node.lineno, "Write from ... import, whose names can be checked."


def _unbound(tree: ast.AST) -> Iterator[tuple[int, str]]:
    bound = GIVEN | set(dir(builtins))
    used: dict[str, int] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.setdefault(name, node.lineno)
            case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound.add(name)
            case ast.ClassDef(name=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.partition(".")[0])
    yield from ((line, f"{name} is never imported or made.") for name, line in used.items() if name not in bound)


def _member(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except AttributeError:
        return import_module(f"{module}.{name}")


def _arguments(call: ast.Call, known: dict[str, Any]) -> Iterator[str]:
    try:
        called = _value(call.func, known)
    except AttributeError as error:
        yield f"{error}."
        return
    if called is None or any(isinstance(argument, ast.Starred) for argument in call.args):
        return
    try:
        signature, options = inspect.signature(called), _options(called)
    except ValueError:  # of a type that is built in, or inherits from one
        return
    given = [keyword.arg for keyword in call.keywords if keyword.arg]
    whole = len(given) == len(call.keywords)
    unknown = [name for name in given if options is not None and name not in options | signature.parameters.keys()]
    try:
        (signature.bind if whole else signature.bind_partial)(*call.args, **dict.fromkeys(given))
    except TypeError as error:
        yield f"{ast.unparse(call.func)}: {error}."
    yield from (f"{ast.unparse(call.func)} takes no {name}." for name in unknown)


def _value(node: ast.expr, known: dict[str, Any]) -> Callable[..., Any] | None:
    """Return what of ours `node` names. Raises AttributeError for a member that does not exist."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, known)
        return None if owner is None else getattr(owner, node.attr)
    return None


def _options(called: Callable[..., Any]) -> set[str] | None:
    """Return the names that **options: Unpack[...] takes; None where anything is taken, or nothing."""
    for parameter in inspect.signature(called).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            hint = typing.get_type_hints(called, localns=OPTIONS).get(parameter.name)
            return set(typing.get_type_hints(typing.get_args(hint)[0])) if typing.get_args(hint) else None
    return None


def _settings(target: ast.expr, value: ast.Dict) -> Iterator[str]:
    if isinstance(target, ast.Name) and target.id == "EMAIL_QUEUE":
        names = [str(key.value) for key in value.keys if isinstance(key, ast.Constant)]
        yield from (f"EMAIL_QUEUE has no key {name}." for name in names if name not in KEYS)
