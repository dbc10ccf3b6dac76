"""What runs in a sandbox: a user's code is loaded here, called, and what it gives is made JSON.

Only the program in a sandbox imports this, by its dotted path.
"""

from __future__ import annotations

import ast
import inspect
import json
import linecache
import platform
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, TypeAlias

from interlock.core.code import ARGUMENTS, RAISED
from interlock.core.node_type import NodeType
from interlock.kit import strict_json
from interlock.kit.plain_json import is_plain
from interlock.nodes.code.binary import pack, unpack
from interlock.nodes.code.node import TYPE
from interlock.nodes.code.packing import open_packed, pack_large
from interlock.ports.node import Attempt, Done, Node, NodeFailed, Services

MAX_RESULT = 16 * 1_048_576
"""Bytes of JSON a function may return."""
_MAX_KEYS = 1_000_000
_TRACE = 65_536  # characters, the last ones
_MODULE = "user_code"
_CLIENT_WORDS = frozenset({"task", "langgraph_task", "langgraph_node"})
"""What clients that build task graphs call their decorators."""
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_PYTHON = ".".join(platform.python_version_tuple()[:2])


class CodeInside:
    """Satisfies ``ports/node.Node`` in a sandbox. A piece of code is loaded once, and sent only with the first call."""

    type = TYPE

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}
        self._loaded: dict[tuple[str, str], Callable[..., Any]] = {}

    async def run(self, attempt: Attempt, services: Services) -> Done:
        """Raises NodeFailed with the type of the code's exception, RESULT_NOT_JSON, FUNCTION_UNKNOWN."""
        given = attempt.parameters
        try:
            function = self._find(given, attempt.code)
            if "args" in given or "kwargs" in given:
                args, kwargs = _unpickled(given.get("args"), attempt, ()), _unpickled(given.get("kwargs"), attempt, {})
                return Done(output={"result": _plain(pack(await _called(function, *args, **kwargs)))})
            arguments = _each(unpack, open_packed(given.get(ARGUMENTS, {})))
            result = _plain(_each(pack, await _called(function, arguments)))
        except NodeFailed:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            _print_trace(error)
            raise _failure(error) from error
        if attempt.placement is not None and attempt.placement.batch_id and isinstance(result, list):
            output: Any = [_object(each) for each in result]  # one for each task of the batch
        else:
            output = _object(result)
        return Done(output=pack_large(output) if attempt.packs else output)

    def _find(self, given: Mapping[str, Any], code: Mapping[str, bytes]) -> Callable[..., Any]:
        digest, name = given["code"], given.get("function") or ""
        if digest in code:
            self._content[digest] = code[digest]
        function = self._loaded.get((digest, name))
        if function is None:
            is_pickle = given.get("form") == "pickle"
            content = self._content[digest]
            function = _load_pickle(content) if is_pickle else _load_source(content.decode(), name)
            self._loaded[digest, name] = function
        return function


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """A value changed, or each of those that make a batch."""
    return [change(each) if type(each) is dict else each for each in value] if type(value) is list else change(value)


def _object(result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else {"result": result}


async def _called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def _load_pickle(content: bytes) -> Callable[..., Any]:
    function = _unpickle(content)
    if not callable(function):
        raise NodeFailed("FUNCTION_UNKNOWN", f"The pickle holds {type(function).__name__} and no function.")
    return function  # type: ignore[no-any-return]  # it is one now


def _unpickle(content: bytes) -> Any:
    """What a pickle holds. Raises NodeFailed UnpicklingError for one that cannot be loaded here."""
    import cloudpickle  # noqa: PLC0415 - only pickles need it, and a sandbox should start fast

    try:
        return cloudpickle.loads(content)
    except Exception as error:
        told = f"{type(error).__name__}: {error} (worker runs Python {_PYTHON})"
        raise NodeFailed("UnpicklingError", told) from error


def _unpickled(digest: Any, attempt: Attempt, otherwise: Any) -> Any:
    return _unpickle(attempt.code[digest]) if isinstance(digest, str) else otherwise


def _load_source(text: str, name: str) -> Callable[..., Any]:
    """The function of a text. Raises what the text raises, and NodeFailed FUNCTION_UNKNOWN."""
    source = textwrap.dedent(text)
    tree = ast.parse(source, f"{_MODULE}.py")
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not functions:
        raise NodeFailed("FUNCTION_UNKNOWN", "The code has no function at its top level.")
    found = next((each.name for each in reversed(functions) if each.name == name), functions[-1].name)
    _forget_clients(tree, functions)
    for each in functions:
        each.decorator_list = [one for one in each.decorator_list if _is_known(one, tree)]
    module = ModuleType(_MODULE)
    sys.modules[_MODULE] = module
    linecache.cache[f"{_MODULE}.py"] = (len(source), None, source.splitlines(keepends=True), f"{_MODULE}.py")
    exec(compile(tree, f"{_MODULE}.py", "exec"), vars(module))  # noqa: S102 - this is the sandbox
    function: Callable[..., Any] = vars(module)[found]
    return function


def _forget_clients(tree: ast.Module, functions: Sequence[_Function]) -> None:
    """Leave out the imports that bring nothing but a client's decorators, if that client is not here."""
    decorators = [one for each in functions for one in each.decorator_list]
    in_decorators = {id(node) for one in decorators for node in ast.walk(one)}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in in_decorators}
    roots = {_root(one): _last_word(one) for one in decorators}
    for node in [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]:
        given = _bound_by(node)
        words = {given[root] if given[root] in _CLIENT_WORDS else word for root, word in roots.items() if root in given}
        if words and words <= _CLIENT_WORDS and not used & given.keys() and not _can_import(node):
            tree.body.remove(node)


def _is_known(decorator: ast.expr, tree: ast.Module) -> bool:
    """Whether the text itself says what a decorator is; ``task`` and the like come from a client that is not here."""
    root = _root(decorator)
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= _bound_by(node).keys()
    return root in bound or root in ("staticmethod", "classmethod", "property")


def _root(decorator: ast.expr) -> str:
    """The first name of a decorator, empty for what has none."""
    while isinstance(decorator, ast.Call | ast.Attribute):
        decorator = decorator.func if isinstance(decorator, ast.Call) else decorator.value
    return decorator.id if isinstance(decorator, ast.Name) else ""


def _last_word(decorator: ast.expr) -> str:
    """The last name of a decorator before it is called."""
    while isinstance(decorator, ast.Call):
        decorator = decorator.func
    return decorator.attr if isinstance(decorator, ast.Attribute) else _root(decorator)


def _bound_by(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """The names an import binds, each with what it is called where it comes from."""
    return {(name.asname or name.name).partition(".")[0]: name.name for name in node.names}


def _can_import(node: ast.Import | ast.ImportFrom) -> bool:
    try:
        exec(compile(ast.Module([node], []), f"{_MODULE}.py", "exec"), {"__name__": _MODULE})  # noqa: S102 - the same
    except ImportError:
        return False
    return True


def _failure(error: BaseException) -> NodeFailed:
    """What the code raised; ``raised`` says that the name is that of its exception and no code of ours."""
    name = type(error).__name__
    text = ""
    with suppress(Exception):  # what it says of itself is code of theirs, too
        text = str(error)
    return NodeFailed(name, text or name, retryable=True, details={RAISED: name, **_place(error)})


def _print_trace(error: BaseException) -> None:
    """The whole traceback, for the log of the task; who is told of the failure hears its type and message."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next  # where the user's code was called is none of it
    with suppress(Exception):  # stderr is whatever the code has made of it, and so is the class of the exception
        text = "".join(traceback.format_exception(type(error), error, trace))
        sys.stdout.flush()  # what was printed before comes before it
        sys.stderr.write(text[-_TRACE:])


def _place(error: BaseException) -> dict[str, Any]:
    """Where in the user's code it was raised."""
    trace, found = error.__traceback__, {}
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == f"{_MODULE}.py":
            found = {"raised_at": f"{_MODULE}.py:{trace.tb_lineno} in {trace.tb_frame.f_code.co_name}"}
        trace = trace.tb_next
    return found


def _plain(result: Any) -> Any:
    """The result as it will be read back. Raises NodeFailed RESULT_NOT_JSON, RESULT_TOO_LARGE."""
    if is_plain(result, max_bytes=MAX_RESULT, max_keys=_MAX_KEYS):
        return result
    with suppress(Exception):  # the slow way takes more, and has the words for what it does not take
        return strict_json.read_back(result, max_bytes=MAX_RESULT, max_keys=_MAX_KEYS)
    try:
        encoded = json.dumps(result, allow_nan=False, ensure_ascii=False, default=_of_numpy).encode()
        return strict_json.decode(encoded, max_bytes=MAX_RESULT, max_keys=_MAX_KEYS)
    except (TypeError, ValueError, RecursionError) as error:
        code = "RESULT_TOO_LARGE" if getattr(error, "too_large", False) else "RESULT_NOT_JSON"
        told = f"What the function returned ({type(result).__name__}) is not JSON: {error}"
        raise NodeFailed(code, told) from error


def _of_numpy(value: Any) -> Any:
    """Numbers and lists of numpy's scalars and arrays. Raises TypeError for anything else."""
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")


class _Registry:
    """The one type of a sandbox."""

    def __init__(self) -> None:
        self._code = CodeInside()

    @property
    def types(self) -> Mapping[str, NodeType]:
        return {TYPE.name: TYPE}

    def node(self, name: str) -> Node:
        if name != TYPE.name:
            raise KeyError(name)
        return self._code


def load() -> _Registry:
    """What the program in a sandbox runs."""
    return _Registry()
