"""What can be called in a query, as SQL. Source: AWS documentation, "Boolean, comparison, numeric, datetime, and other
functions" and "stats". Names are compared without case: `toMillis` and `tomillis` are one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sandbox.insights.values import (
    Kind,
    Value,
    as_integer,
    as_number,
    as_text,
    as_time,
    common_kind,
    converted,
)


@dataclass(frozen=True)
class Function:
    """`most` None: any number of arguments."""

    least: int
    most: int | None
    build: Callable[[list[Value]], Value]


def _numeric(template: str) -> Callable[[list[Value]], Value]:
    return lambda arguments: Value(template.format(*map(as_number, arguments)), Kind.NUMBER)


def _textual(template: str, kind: Kind = Kind.TEXT) -> Callable[[list[Value]], Value]:
    return lambda arguments: Value(template.format(*map(as_text, arguments)), kind)


def _joined(function: str, convert: Callable[[Value], str], kind: Kind) -> Callable[[list[Value]], Value]:
    return lambda arguments: Value(f"{function}({', '.join(map(convert, arguments))})", kind)


def _coalesce(arguments: list[Value]) -> Value:
    kind = common_kind(arguments)
    return Value(f"coalesce({', '.join(converted(argument, kind) for argument in arguments)})", kind)


def _trim(function: str) -> Callable[[list[Value]], Value]:
    def build(arguments: list[Value]) -> Value:
        characters = as_text(arguments[1]) if len(arguments) > 1 else "' \t\n\r'"
        return Value(f"{function}({as_text(arguments[0])}, {characters})", Kind.TEXT)

    return build


def _substr(arguments: list[Value]) -> Value:
    """The first character has index 0."""
    start = f"least(greatest({as_integer(arguments[1])}, 0), 2000000000) + 1"
    if len(arguments) == 2:
        return Value(f"substr({as_text(arguments[0])}, {start})", Kind.TEXT)
    length = f"least(greatest({as_integer(arguments[2])}, 0), 2000000000)"
    return Value(f"substr({as_text(arguments[0])}, {start}, {length})", Kind.TEXT)


SCALAR: dict[str, Function] = {
    "abs": Function(1, 1, _numeric("abs({0})")),
    "ceil": Function(1, 1, _numeric("ceil({0})")),
    "floor": Function(1, 1, _numeric("floor({0})")),
    "log": Function(1, 1, _numeric("(CASE WHEN {0} > 0 THEN ln({0}) END)")),
    "sqrt": Function(1, 1, _numeric("(CASE WHEN {0} >= 0 THEN sqrt({0}) END)")),
    "greatest": Function(1, None, _joined("greatest", as_number, Kind.NUMBER)),
    "least": Function(1, None, _joined("least", as_number, Kind.NUMBER)),
    "coalesce": Function(1, None, _coalesce),
    "ispresent": Function(1, 1, lambda a: Value(f"({a[0].sql} IS NOT NULL)", Kind.BOOLEAN)),
    "isempty": Function(1, 1, _textual("coalesce({0} = '', true)", Kind.BOOLEAN)),
    "isblank": Function(1, 1, _textual(r"coalesce(regexp_full_match({0}, '\s*'), true)", Kind.BOOLEAN)),
    "concat": Function(1, None, _joined("concat", as_text, Kind.TEXT)),
    "strlen": Function(1, 1, _textual("length({0})", Kind.INTEGER)),
    "toupper": Function(1, 1, _textual("upper({0})")),
    "tolower": Function(1, 1, _textual("lower({0})")),
    "trim": Function(1, 2, _trim("trim")),
    "ltrim": Function(1, 2, _trim("ltrim")),
    "rtrim": Function(1, 2, _trim("rtrim")),
    "substr": Function(2, 3, _substr),
    "replace": Function(3, 3, _textual("replace({0}, {1}, {2})")),
    "strcontains": Function(2, 2, _textual("CAST(coalesce(contains({0}, {1}), false) AS BIGINT)", Kind.INTEGER)),
    "frommillis": Function(1, 1, lambda a: Value(f"({as_time(a[0])})", Kind.TIME)),
    "tomillis": Function(1, 1, lambda a: Value(f"({as_time(a[0])})", Kind.INTEGER)),
}
"""Functions of values. `now`, `bin`, `datefloor` and `dateceil` are the compiler's: they need the clock, a time
period or the event's own time."""


def floor_time(time: str, period_ms: int) -> Value:
    return Value(f"CAST(floor({time} / {period_ms}) * {period_ms} AS BIGINT)", Kind.TIME)


def ceil_time(time: str, period_ms: int) -> Value:
    return Value(f"CAST(ceil({time} / {period_ms}) * {period_ms} AS BIGINT)", Kind.TIME)


def _extreme(function: str) -> Callable[[Value], Value]:
    def build(value: Value) -> Value:
        if value.kind is not Kind.TEXT:
            return Value(f"{function}({value.sql})", value.kind)
        # numbers win over text, as in a sort
        numbers = f"number_text({function}({as_number(value)}))"
        return Value(f"coalesce({numbers}, {function}({value.sql}))", Kind.TEXT)

    return build


def _sum(value: Value) -> Value:
    if value.kind in (Kind.BOOLEAN, Kind.INTEGER):
        return Value(f"TRY_CAST(sum(CAST({value.sql} AS BIGINT)) AS BIGINT)", Kind.INTEGER)
    return Value(f"sum({as_number(value)})", Kind.NUMBER)


def _of_numbers(function: str) -> Callable[[Value], Value]:
    return lambda value: Value(f"{function}({as_number(value)})", Kind.NUMBER)


AGGREGATE: dict[str, Callable[[Value], Value]] = {
    "count": lambda value: Value(f"count({value.sql})", Kind.INTEGER),
    "count_distinct": lambda value: Value(f"count(DISTINCT {as_text(value)})", Kind.INTEGER),
    "countdistinct": lambda value: Value(f"count(DISTINCT {as_text(value)})", Kind.INTEGER),
    "sum": _sum,
    "avg": _of_numbers("avg"),
    "stddev": _of_numbers("stddev_samp"),
    "variance": _of_numbers("var_samp"),
    "min": _extreme("min"),
    "max": _extreme("max"),
}
"""Aggregates of one value over a group; absent values do not count. `pct`, `earliest` and `latest` are the
compiler's: they take a literal, or the event's own time."""


def percentile(value: Value, percent: float) -> Value:
    """Linear between order statistics (AWS's are approximate)."""
    return Value(f"quantile_cont({as_number(value)}, {percent / 100!r})", Kind.NUMBER)
