# ruff: noqa: SIM905 (word lists)
"""What is refused, with its place; and that any text is either a query or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.insights import functions
from sandbox.insights.compiler import compile_query
from sandbox.insights.engine import Engine
from sandbox.insights.errors import MalformedQuery, QueryFailed
from sandbox.insights.regexes import from_glob, from_regex
from sandbox.insights.syntax import parse
from sandbox.log_events import Window
from sandbox.logs import LogStore


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


REFUSED = [  # query, what the fault's place covers
    ("", ""),
    ("   ", ""),
    ("fields", ""),
    ("fields @message |", ""),
    ("| fields @message", "|"),
    ("fields @message || limit 1", "|"),
    ("SOURCE logGroups() | fields a", "SOURCE"),
    ("fields a | pattern @message", "pattern"),
    ("fields a | anomaly", "anomaly"),
    ("fields a | unnest b into c", "unnest"),
    ("head 10", "head"),
    ("fields a,", ""),
    ("fields a as", ""),
    ("fields a b", "b"),
    ("fields foo(a)", "foo(a)"),
    ("fields jsonParse(@message)", "jsonParse(@message)"),
    ("fields abs()", "abs()"),
    ("fields abs(1, 2)", "abs(1, 2)"),
    ("fields abs(*)", "abs(*)"),
    ("fields now(1)", "now(1)"),
    ("fields substr(a)", "substr(a)"),
    ("fields 5m", "5m"),
    ("fields 5minutes", "5minutes"),
    ("fields bin(5)", "5"),
    ("fields bin(0m)", "0m"),
    ("fields bin(1mo)", "1mo"),
    ("fields bin(@timestamp, 5m)", "bin(@timestamp, 5m)"),
    ("fields datefloor(@timestamp)", "datefloor(@timestamp)"),
    ("fields count(*)", "count(*)"),
    ("filter count(a) > 1", "count(a)"),
    ("filter", ""),
    ("filter a =", ""),
    ("filter a == 1", "="),
    ("filter a = 1 = 1", "="),
    ("filter a <> 1", ">"),
    ("filter a && b", "&"),
    ("filter a in []", "]"),
    ("filter a in [b]", "b"),
    ("filter a like b", "b"),
    ("filter (a", ""),
    ("filter a)", ")"),
    ('filter a = "open', '"'),
    ("filter a like /open", "/"),
    ("stats", ""),
    ("stats by a", "a"),
    ("stats a", "a"),
    ("stats sum(a), b by c", "b"),
    ("stats sum(sum(a))", "sum(a)"),
    ("stats median(a)", "median(a)"),
    ("stats pct(a)", "pct(a)"),
    ("stats pct(a, 101)", "101"),
    ("stats pct(a, b)", "b"),
    ("stats sum(*)", "sum(*)"),
    ("stats 1 + 1", "stats 1 + 1"),
    ("stats count(*), count(*)", "count(*)"),
    ("stats count(*) as n | stats count(*) by bin(5m)", "bin(5m)"),
    ("stats count(*) as n | stats latest(n)", "latest(n)"),
    ("sort a | stats count(*)", "sort a"),
    ("limit 5 | stats count(*)", "limit 5"),
    ("dedup a | stats count(*)", "dedup a"),
    ("dedup a | fields b", "fields b"),
    ("dedup a + b", "+"),
    ("sort", ""),
    ("sort a down", "down"),
    ("limit", ""),
    ("limit 0", "limit 0"),
    ("limit -1", "-"),
    ("limit 1.5", "limit 1.5"),
    ("limit 100001", "limit 100001"),
    ("parse @message", ""),
    ("parse 'a *' as b", "'a *'"),
    ("parse @message 'a *'", ""),
    ("parse @message 'a * *' as b", "parse @message 'a * *' as b"),
    ("parse @message '* *' as b, b", "parse @message '* *' as b, b"),
    ("parse @message /no (groups)/", "parse @message /no (groups)/"),
    ("parse @message /(?<a>x)/ as b", "as"),
    ("fields ``", "`"),
]


@pytest.mark.parametrize(("query", "place"), REFUSED, ids=[query for query, _ in REFUSED])
def test_what_is_outside_the_subset_is_refused_with_its_place(query: str, place: str) -> None:
    with pytest.raises(MalformedQuery) as refusal:
        compile_query(query, now=0)
    error = refusal.value
    assert error.message
    assert query[error.start : error.end] in (place, place[:1])


@pytest.mark.parametrize("regex", ["(", "[", "+*+", "(?<a>x", "(?<=a)b", r"\1", "a{2000}"])
def test_a_bad_regular_expression_is_refused(engine: Engine, regex: str) -> None:
    for query in (f"filter @message like /{regex}/", f"parse @message /(?<x>y){regex}/ | display x"):
        with pytest.raises(MalformedQuery):
            engine.compile(query, now=0)


def test_brackets_alone_are_no_depth(engine: Engine) -> None:
    engine.compile("filter " + "(" * 3000 + "a" + ")" * 3000, now=0)


@pytest.mark.parametrize(
    "query",
    [
        "fields " + "a" * 10_000,
        "filter " + "not (" * 1500 + "a" + ")" * 1500,
        "filter " + " + ".join(["a"] * 2400),
        " | ".join(["limit 1"] * 101),
    ],
    ids=["characters", "depth", "operators", "commands"],
)
def test_too_much_is_refused(engine: Engine, query: str) -> None:
    with pytest.raises(MalformedQuery):
        engine.compile(query, now=0)


def test_eleven_stats_are_one_too_many() -> None:
    one = "stats count(*) as n"
    compile_query(" | ".join([one] * 10), now=0)
    with pytest.raises(MalformedQuery, match="at most 10"):
        compile_query(" | ".join([one] * 11), now=0)


def test_globs_are_literal_but_for_the_star() -> None:
    assert from_glob("[*] a.b * ms") == r"(?s)\[(.*?)\]\ a\.b\ (.*?)\ ms"
    assert from_glob("* *") == r"(?s)^([^\ ]*)\ (.*)$"
    assert from_glob("a=*") == r"(?s)a=(.*)$"


def test_groups_are_counted_outside_classes_escapes_and_quotes() -> None:
    captures = from_regex(r"\((?<a>[(](?:b)(c))\Q(\E(?i)(?P<d>\\)")
    assert captures.names == ("a", None, "d")
    assert captures.pattern == r"\((?P<a>[(](?:b)(c))\Q(\E(?i)(?P<d>\\)"


# Any text at all, and texts that are nearly queries.
_WORDS = st.sampled_from(
    "fields filter stats sort limit parse display dedup by as and or not like in desc asc bin count sum avg pct max "
    "latest ispresent datefloor coalesce strlen @message @timestamp @duration level a.b `x y` 1 2.5 1e9 0 5m 300s "
    '"REPORT" \'x\' /a(?<g>b*)/ "* *" | , ( ) [ ] + - * / % ^ = != < >= =~ # \' " / ` \\ \n'.split(" ")
)
_NEARLY = st.lists(_WORDS, max_size=25).map(" ".join)
_EXPRESSIONS = st.recursive(
    st.sampled_from(["@duration", "level", "@timestamp", "@message", "none", "1", "-2.5", "0", "'x'", "'12'", "now()"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+ - * / % ^ = != < <= > >= and or".split()), inner).map(
            "({0[0]}) {0[1]} ({0[2]})".format
        ),
        inner.map("({})".format),
        inner.map("(not ({}))".format),
        inner.map("-({})".format),
        inner.map("({}) like /x|1/".format),
        inner.map("({}) in [1, 'x']".format),
        st.tuples(
            st.sampled_from(
                "abs ceil floor log sqrt ispresent isempty isblank strlen toupper trim tomillis frommillis".split()
            ),
            inner,
        ).map("{0[0]}({0[1]})".format),
        st.tuples(st.sampled_from("coalesce greatest least concat strcontains ltrim substr".split()), inner, inner).map(
            "{0[0]}({0[1]}, {0[2]})".format
        ),
        inner.map("datefloor({}, 5m)".format),
        inner.map("dateceil({}, 1h)".format),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def store() -> Iterator[LogStore]:
    store = LogStore()
    for message in ("", "x", "12", '{"level": "1e308", "a": {"b": -0.0}}', "REPORT RequestId: x\tDuration: 5.00 ms\t"):
        store.append("/g", "s", 1_800_000_000.0, message)
    yield store
    store.close()


def run(engine: Engine, store: LogStore, query: str) -> None:
    compiled = engine.compile(query, now=1_800_000_000.0)
    window = Window(("/g",), 0, 1 << 60, 1 << 60)
    engine.run(engine.cursor(), compiled, store.snapshot(["/g"], 0, 1 << 60), window)


_SETTINGS = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_SETTINGS
@given(st.one_of(st.text(max_size=40), _NEARLY))
def test_any_text_is_a_query_or_malformed(engine: Engine, store: LogStore, text: str) -> None:
    try:
        run(engine, store, text)
    except MalformedQuery as error:
        assert 0 <= error.start <= error.end <= max(len(text), error.start)


@settings(_SETTINGS, max_examples=20)
@given(_EXPRESSIONS)
def test_any_expression_runs(engine: Engine, store: LogStore, expression: str) -> None:
    run(engine, store, f"fields {expression} as x | filter x = x or ({expression}) | sort x desc, {expression}")
    try:
        run(engine, store, f"stats sum({expression}), min({expression}), latest({expression}) by {expression}")
    except QueryFailed as error:  # a sum of doubles may leave their range
        assert "ut of" in str(error)


_COMMANDS = st.one_of(
    _EXPRESSIONS.map("fields {0} as a, a as x, {0}".format),
    _EXPRESSIONS.map("filter {}".format),
    _EXPRESSIONS.map("sort {} desc, a".format),
    _EXPRESSIONS.map("stats count(*), max({0}) as x, pct(a, 50) as p, x / p as q by {0}, b".format),
    st.sampled_from(
        [
            'parse @message "* *" as x, a',
            'parse a "*:*" as x, b',
            "parse b /(?<x>\\w)(?<b>.)?/",
            "stats count(*) as n by bin(5m)",
            "display a, b, x, n",
            "dedup a, x",
            "limit 2",
        ]
    ),
)


@settings(_SETTINGS, max_examples=40)
@given(st.lists(_COMMANDS, min_size=1, max_size=6).map(" | ".join))
def test_any_commands_in_any_order_run_or_are_malformed(engine: Engine, store: LogStore, query: str) -> None:
    try:
        run(engine, store, query)
    except MalformedQuery as error:
        assert "Error" not in error.message  # ours, not the database's


@_SETTINGS
@given(st.text(max_size=30))
def test_any_text_can_be_said_in_quotes(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    (command,) = parse(f"filter a = '{quoted}'")
    assert command.condition.right.value == text  # type: ignore[union-attr]


def test_the_documentation_names_every_function() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sandbox-insights.md").read_text().lower()
    for name in {
        *functions.SCALAR,
        *functions.AGGREGATE,
        "pct",
        "earliest",
        "latest",
        "bin",
        "datefloor",
        "dateceil",
        "now",
    }:
        assert f"`{name}`" in text or f"`{name}(" in text, name
