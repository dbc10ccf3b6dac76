"""I4: what gets out of other expression languages gets nowhere here, in bounded time and memory: a corpus."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from figures import Note
from interlock.core.engine.expressions import ExpressionError, compile_template, parse
from unit.test_expression_bounds import ESCAPES, _timed, bounded

MORE = (
    "().__class__.__bases__[0].__subclasses__()[104].load_module('os').system('id')",
    "$json.__init__.__globals__['__builtins__']['eval']('1')",
    "$json['__class__']['__mro__']()",
    "data['__reduce_ex__'](2)",
    "cycler.__init__.__globals__.os.popen('id').read()",
    "lipsum.__globals__['os'].popen('id').read()",
    "request.application.__globals__.__builtins__.__import__('os')",
    "self._TemplateReference__context.cycler",
    "config.items()",
    "''|attr('__class__')",
    "namespace(x=1).x",
    "joiner.__init__",
    "f'{data!r:{data}}'",
    "'{0.__class__.__init__.__globals__}'.format(data)",
    "'%(a)s' % data",
    "string.Template('$a').substitute(data)",
    "(lambda: (yield))()",
    "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0]('id')",
    "(a := ().__class__)",
    "print(open('/etc/passwd').read())",
    "__builtins__['__import__']('os')",
    "getattr(data, '\\x5f\\x5fclass\\x5f\\x5f')",
    "data.ﬀ.__ｃlass__",
    "ｅval('1')",
    "exec(compile('1', '', 'eval'))",
    "breakpoint()",
    "help()",
    "memoryview(data)",
    "type('X', (), {'__del__': 1})",
    "data.__class__ = 1",
    "try: 1\nexcept: 2",
    "while true: 1",
    "match data: {}",
    "async (1)",
    "constructor.constructor('return this')()",
    "data.__proto__.polluted = 1",
    "Object.assign(data, {})",
    "import('fs')",
    "new Function('return 1')()",
    "${T(java.lang.Runtime).getRuntime().exec('id')}",
    "%{#a=(new java.lang.ProcessBuilder('id')).start()}",
    "<#assign x='freemarker.template.utility.Execute'?new()>",
    "#set($x='')#set($rt=$x.class.forName('java.lang.Runtime'))",
    "{{#with 's' as |string|}}",
    "<%= system('id') %>",
    "`id`",
    "$(id)",
    "{php}echo 1;{/php}",
    "{{=7*7}}",
    "[[${7*7}]]",
    "matches(data, '(a+)+$')",
    "regex('(a|a)*b', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
    "data =~ '(.*)*x'",
    "9**9**9**9",
    "'a' * 10**10",
    "[0] * 10**10",
    "range(10**10)",
    "10**10**10",
    "1e308 * 1e308 ** 2",
    "str(9**99999)",
    "'a'.rjust(10**10)",
    "'{:>9999999999}'.format(1)",
    "f'{1:9999999999}'",
    "factorial(100000)",
    "sum(range(10**10))",
)
"""Sources of other languages, of the templates and sandboxes that they got out of."""
BOUNDED = (
    "1" + "*9" * 120,
    "'a' + " * 120 + "'a'",
    "replace('" + "a" * 2000 + "', 'a', '" + "b" * 2000 + "')",
    "(" * 31 + "1" + ")" * 31,
    "-" * 60 + "1",
    "data." + ".".join(["a"] * 100),
    "data" + "['a']" * 100,
    "[" * 31 + "]" * 31,
    "{a:" * 31 + "1" + "}" * 31,
    "true ? " * 30 + "1" + " : 2" * 30,
)
"""Sources that mean something, and would cost much if it were let."""

SCOPE: dict[str, Any] = {"data": {"a": 1}, "$json": {}}


def test_the_corpus_is_refused_or_bounded(note_figures: Note) -> None:
    slowest = 0.0
    for source in (*ESCAPES, *MORE):
        for work in (
            lambda text=source: parse(text).evaluate(SCOPE),
            lambda text=source: compile_template("{{ " + text + " }}").render(SCOPE),
        ):
            assert isinstance(bounded(work), ExpressionError), source
            slowest = max(slowest, _timed(work)[0])
    for source in BOUNDED:
        outcome = bounded(lambda text=source: parse(text).evaluate(SCOPE))
        json.dumps(outcome if not isinstance(outcome, ExpressionError) else None, allow_nan=False)
    tried = len(ESCAPES) + len(MORE) + len(BOUNDED)
    note_figures(expression_tries=tried, expression_escapes=0, expression_slowest_ms=slowest * 1000)


class Tripwire:
    """An object that notes whatever anybody does with it."""

    touched: ClassVar[list[str]] = []

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # which is what isinstance asks
            return object.__getattribute__(self, name)
        Tripwire.touched.append(name)
        return object.__getattribute__(self, name)

    def __call__(self, *given: Any) -> Any:
        Tripwire.touched.append("call")

    def __getitem__(self, key: Any) -> Any:
        Tripwire.touched.append("item")


NAMES = st.sampled_from(["data", "$json", "data.wire", "$json.wire", "x", "os", "len", "str", "True", "self"])
WORDS = st.sampled_from(["__class__", "__globals__", "wire", "format", "real", "items", "append", "a", "_", "mro"])
LEAVES = st.one_of(NAMES, st.sampled_from(["1", "0.5", "'a'", "'{0.__class__}'", "[]", "{}", "null", "...", "1j"]))
PYTHON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({}).{}".format, inner, WORDS),
        st.builds("{}.{}()".format, inner, WORDS),
        st.builds("({})({})".format, inner, inner),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("({})['{}']".format, inner, WORDS),
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["+", "*", "**", "%", "in", "and", "is", "|"]), inner),
        st.builds("[{} for {} in {}]".format, inner, WORDS, inner),
        st.builds("(lambda {}: {})".format, WORDS, inner),
        st.builds("({} := {})".format, WORDS, inner),
        st.builds("f'{{{}}}'".format, inner),
        st.builds("{} if {} else {}".format, inner, inner, inner),
        st.builds("{}({})".format, st.sampled_from(["str", "json", "len", "keys", "values", "type", "has"]), inner),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(PYTHON)
def test_no_python_reaches_an_object(source: str) -> None:
    """Made-up Python over an object that notes every touch: a refusal or plain JSON comes out, and it notes nothing."""
    Tripwire.touched.clear()
    scope = {"data": {"wire": Tripwire(), "a": [1, {"a": 2}]}, "$json": {"wire": Tripwire()}}
    for work in (lambda: parse(source).evaluate(scope), lambda: compile_template("{{" + source + "}}").render(scope)):
        try:
            json.dumps(work(), allow_nan=False)
        except ExpressionError:
            continue
    assert Tripwire.touched == []
