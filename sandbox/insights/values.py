"""Values of the query language as SQL: how they convert, compare, sort and are shown.

Logs Insights has no declared types: a field parsed out of a message is text, yet compares as a number where it looks
like one. Here every expression carries the kind that is known when the query is compiled; TEXT is the kind of
whatever came out of a message, and looks at the value itself when the query runs.

Where AWS's documentation is silent we chose (docs/sandbox-insights.md lists it): a comparison with an absent field is
false, except `!=`, which is true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What is known of a value; None (SQL NULL) is an absent value of any kind."""

    TEXT = "VARCHAR"
    NUMBER = "DOUBLE"
    INTEGER = "BIGINT"  # shown plain, whatever its size
    TIME = "BIGINT, epoch milliseconds"  # shown as a date
    BOOLEAN = "BOOLEAN"  # a number, 1 or 0, wherever one is wanted


@dataclass(frozen=True)
class Value:
    """A SQL expression (always safe to stand inside another) and the kind of what it gives."""

    sql: str
    kind: Kind
    constant: str | None = None
    """The text of a string literal, which is compared as what it looks like."""


ABSENT = Value("CAST(NULL AS VARCHAR)", Kind.TEXT)

_NUMBER_FORM = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_EXACT_DIGITS = 17  # a double cannot tell longer numerals apart

MACROS = (
    # Text that looks like a number, as that number. Absent where it does not. (A macro's argument is copied wherever
    # it is named: macros whose arguments may be costly name them once.)
    f"CREATE OR REPLACE MACRO text_number(x) AS TRY_CAST(regexp_extract(x, '^{_NUMBER_FORM}$') AS DOUBLE)",
    # A double as AWS shows it (Java's Double.toString without a trailing .0): 3.86, 128, 1.28E8, 1.0E7.
    r"""CREATE OR REPLACE MACRO number_text(d) AS
        CASE WHEN NOT isfinite(d) THEN NULL
             WHEN abs(d) >= 1e7 AND abs(d) < 1e16 THEN
                  CASE WHEN d < 0 THEN '-' ELSE '' END
                  || left(CAST(abs(d) AS VARCHAR), 1) || '.'
                  || coalesce(nullif(rtrim(substr(replace(CAST(abs(d) AS VARCHAR), '.', ''), 2), '0'), ''), '0')
                  || 'E' || CAST(strpos(CAST(abs(d) AS VARCHAR), '.') - 2 AS VARCHAR)
             WHEN contains(CAST(d AS VARCHAR), 'e') THEN
                  regexp_replace(upper(CAST(d AS VARCHAR)), 'E([+]|(-))0*', 'E\2')
             WHEN d = 0 THEN '0'
             ELSE regexp_replace(CAST(d AS VARCHAR), '\.0$', '') END""",
    # An instant as AWS shows it. Absent outside the years 1 to 9999.
    """CREATE OR REPLACE MACRO time_text(ms) AS
        CASE WHEN ms BETWEEN -62135596800000 AND 253402300799999
             THEN strftime(epoch_ms(CAST(ms AS BIGINT)), '%Y-%m-%d %H:%M:%S.%g') END""",
    "CREATE OR REPLACE MACRO boolean_text(b) AS CASE WHEN b THEN '1' WHEN NOT b THEN '0' END",
    # Two texts: as numbers where both look like numbers (only as text beyond the digits a double can tell apart).
    f"""CREATE OR REPLACE MACRO text_equal(a, b) AS a = b OR coalesce(length(a) < {_EXACT_DIGITS}
        AND length(b) < {_EXACT_DIGITS} AND text_number(a) = text_number(b), false)""",
    "CREATE OR REPLACE MACRO text_less(a, b) AS coalesce(text_number(a) < text_number(b), a < b)",
    "CREATE OR REPLACE MACRO text_at_most(a, b) AS coalesce(text_number(a) <= text_number(b), a <= b)",
    # AWS's natural order of what is no number: digits in a row count by their length, then by their value.
    """CREATE OR REPLACE MACRO natural_key(x) AS
        list_transform(regexp_extract_all(x, '[0-9]+|[^0-9]+'),
            lambda part: CASE WHEN ascii(part) BETWEEN 48 AND 57
                              THEN '0' || lpad(CAST(length(part) AS VARCHAR), 8, '0') || part ELSE part END)""",
)
"""SQL macros that every connection which runs a compiled query needs."""


def text_literal(text: str) -> str:
    """A string as SQL."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "(" + quoted.replace("\0", "' || chr(0) || '") + ")" if "\0" in text else quoted


def number_literal(number: float) -> str:
    return f"CAST('{number!r}' AS DOUBLE)"


def looks_like_number(text: str) -> bool:
    """The rule of the macro text_number."""
    return re.fullmatch(_NUMBER_FORM, text) is not None


def as_text(value: Value) -> str:
    match value.kind:
        case Kind.TEXT:
            return value.sql
        case Kind.NUMBER:
            return f"number_text({value.sql})"
        case Kind.INTEGER:
            return f"CAST({value.sql} AS VARCHAR)"
        case Kind.TIME:
            return f"time_text({value.sql})"
        case Kind.BOOLEAN:
            return f"boolean_text({value.sql})"


def as_number(value: Value) -> str:
    match value.kind:
        case Kind.TEXT:
            return f"text_number({value.sql})"
        case Kind.NUMBER:
            return value.sql
        case _:
            return f"CAST({value.sql} AS DOUBLE)"


def as_condition(value: Value) -> str:
    """SQL that is true or false, never absent: any number but 0 is true."""
    return value.sql if value.kind is Kind.BOOLEAN else f"coalesce({as_number(value)} <> 0, false)"


def as_time(value: Value) -> str:
    """Epoch milliseconds as BIGINT. Absent where the value is no instant of the years 1 to 9999."""
    if value.kind is Kind.TIME:
        return value.sql
    number = as_number(value)
    return f"CASE WHEN {number} BETWEEN -62135596800000 AND 253402300799999 THEN CAST({number} AS BIGINT) END"


def as_integer(value: Value) -> str:
    """BIGINT, cut off towards zero. Absent where there is no number or one too large."""
    if value.kind in (Kind.INTEGER, Kind.TIME):
        return value.sql
    return f"TRY_CAST(trunc({as_number(value)}) AS BIGINT)"


def common_kind(values: list[Value]) -> Kind:
    """The kind that can hold any of these values."""
    kinds = {value.kind for value in values}
    if len(kinds) == 1:
        return kinds.pop()
    return Kind.TEXT if Kind.TEXT in kinds else Kind.NUMBER


def converted(value: Value, kind: Kind) -> str:
    if value.kind is kind:
        return value.sql
    return as_text(value) if kind is Kind.TEXT else as_number(value)


def compared(operator: str, left: Value, right: Value) -> Value:
    """`left operator right` for = != < <= > >=; true or false, never absent."""
    if operator in (">", ">="):
        return compared({">": "<", ">=": "<="}[operator], right, left)
    if operator == "!=":
        return Value(f"(NOT {compared('=', left, right).sql})", Kind.BOOLEAN)
    for one, other in ((left, right), (right, left)):
        if one.constant is not None and (other.constant is not None or not looks_like_number(one.constant)):
            return _false_if_absent(f"{as_text(left)} {operator} {as_text(right)}")
    if left.kind is not Kind.TEXT or right.kind is not Kind.TEXT:
        return _false_if_absent(f"{as_number(left)} {operator} {as_number(right)}")
    macro = {"=": "text_equal", "<": "text_less", "<=": "text_at_most"}[operator]
    return _false_if_absent(f"{macro}({left.sql}, {right.sql})")


def member_of(operand: Value, texts: list[str], numbers: list[float]) -> Value:
    """Whether a value equals one of some literals; true or false, never absent."""
    numbers = numbers + [float(text) for text in texts if looks_like_number(text) and len(text) < _EXACT_DIGITS]
    tests = []
    if texts:
        tests.append(f"{as_text(operand)} IN ({', '.join(map(text_literal, texts))})")
    if numbers:
        tests.append(f"{as_number(operand)} IN ({', '.join(map(number_literal, numbers))})")
    return Value(f"({' OR '.join(f'coalesce({test}, false)' for test in tests)})", Kind.BOOLEAN)


def _false_if_absent(condition: str) -> Value:
    return Value(f"coalesce({condition}, false)", Kind.BOOLEAN)


def sort_terms(value: Value, descending: bool) -> list[str]:
    """ORDER BY terms. Ascending: absent values, then text in natural order, then numbers (AWS documentation,
    CWL_QuerySyntax-Sort); descending is the reverse."""
    order = "DESC NULLS LAST" if descending else "ASC NULLS FIRST"
    if value.kind is not Kind.TEXT:
        return [f"{value.sql} {order}"]
    number = f"text_number({value.sql})"
    return [
        f"({value.sql} IS NOT NULL) {order}",
        f"({number} IS NOT NULL) {order}",
        f"{number} {order}",
        f"CASE WHEN {number} IS NULL THEN natural_key({value.sql}) END {order}",
    ]
