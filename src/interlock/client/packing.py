"""Functions as they travel: as their source where that says everything, else pickled by value."""

from __future__ import annotations

import ast
import base64
import builtins
import importlib
import inspect
import pickle
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from interlock.client.errors import NotSendable
from interlock.client.tasks import Form

_PICKLING = threading.RLock()
_MAX_CODE = 8 * 1_048_576
_INSTALL = "install cloudpickle (pip install cloudpickle) to send what stands around it too"


def code_of(function: Callable[..., Any], send: Form = "auto") -> dict[str, str]:
    """The fields of a request that carry this function.

    Raises NotSendable: its source is not known, needs names from outside, or it cannot be pickled.
    """
    if send == "pickle":
        return {"serialized_code": packed(function)}
    source, lacking = _source_of(function)
    if not lacking:
        return {"code_str": source}
    if send == "auto" and _cloudpickle() is not None:
        return {"serialized_code": packed(function)}
    name = getattr(function, "__name__", repr(function))
    advice = "send it as a pickle" if send == "source" else _INSTALL
    raise NotSendable(f"The source of {name!r} is not all it needs: {lacking}. Put that inside of it, or {advice}")


def packed(value: Any) -> str:
    """A value pickled and in base64; functions by value, so that the server needs none of their modules.

    Raises NotSendable.
    """
    pickler = _cloudpickle()
    if pickler is None and callable(value):
        name = getattr(value, "__name__", repr(value))
        raise NotSendable(f"The function {name!r} cannot be pickled without cloudpickle: pip install cloudpickle")
    try:
        with _by_value(pickler, value):
            content: bytes = (pickler or pickle).dumps(value)
    except Exception as error:
        raise NotSendable(f"{_named(value)} cannot be pickled: {type(error).__name__}: {error}") from error
    if len(content) > _MAX_CODE:
        raise NotSendable(f"{_named(value)} has {len(content):,} bytes as a pickle; at most {_MAX_CODE:,} are taken")
    return base64.b64encode(content).decode()


def _source_of(function: Callable[..., Any]) -> tuple[str, str]:
    """The source of a function without its decorators, and what it lacks to stand alone (nothing: empty)."""
    if not inspect.isfunction(function):
        return "", "it is no plain function"
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(text)
    except (OSError, TypeError, SyntaxError):
        return "", "its source is not known"
    found = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        return "", "it is not a def of its own"
    if function.__closure__:
        return "", f"it uses {', '.join(function.__code__.co_freevars)} of the function around it"
    if len(found.decorator_list) > 1:
        return "", "it has other decorators than task"
    names = sorted(_free_names(found))
    if names:
        return "", f"it uses {', '.join(names)} of its module"
    return "".join(text.splitlines(keepends=True)[found.lineno - 1 :]), ""


def _free_names(definition: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names that the definition reads and neither it nor Python itself gives, decorators left aside."""
    read: set[str] = set()
    bound: set[str] = {definition.name}
    for part in (definition.args, *definition.body, *([definition.returns] if definition.returns else [])):
        for node in ast.walk(part):
            if isinstance(node, ast.Name):
                (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                bound.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                bound.add(node.name)
            elif isinstance(node, ast.Global):
                read |= set(node.names)
    return read - bound - set(dir(builtins))


@contextmanager
def _by_value(pickler: Any, value: Any) -> Iterator[None]:
    """While a function is pickled, its module counts as one that the other side does not have."""
    module = sys.modules.get(getattr(value, "__module__", None) or "__main__")
    if pickler is None or not callable(value) or module is None or module.__name__ == "__main__":
        yield
        return
    with _PICKLING:  # the registry is one for the whole process
        is_known = module.__name__ in pickler.list_registry_pickle_by_value()
        if not is_known:
            pickler.register_pickle_by_value(module)
        try:
            yield
        finally:
            if not is_known:
                pickler.unregister_pickle_by_value(module)


def _cloudpickle() -> Any:
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        return None


def _named(value: Any) -> str:
    return f"The function {value.__name__!r}" if inspect.isfunction(value) else f"The {type(value).__name__}"
