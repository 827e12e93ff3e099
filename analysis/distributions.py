"""The statistics of a column, in SQL: one struct per group, handed back as the dictionary that the summary wants.

Percentiles interpolate linearly between the order statistics of the raw rows (`quantile_cont`, numpy's default
method). Of no rows at all every statistic is NULL: nothing measured is not 0.
"""

from __future__ import annotations

from collections.abc import Iterable

_STATISTICS = {
    "min": "min({0})",
    "mean": "avg({0})",
    "max": "max({0})",
    "sum": "sum({0})",
    "count": "count({0})",
}
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def distribution(expression: str, statistics: str, *, where: str = "true", suffix: str = "") -> str:
    """A struct of `statistics` (names separated by blanks) of an SQL expression, over the rows of the group `where`.

    >>> distribution("x", "min max")
    "{'min': round(min(x) FILTER (WHERE true), 3), 'max': round(max(x) FILTER (WHERE true), 3)}"

    Rounded to three decimals: microseconds for milliseconds, and no digits that depend on the order of summation.
    NULLs are left out. `suffix` is appended to the names (`_ms`).
    """
    names = statistics.split()
    shares = [share for name, share in _PERCENTILES.items() if name in names]

    def statistic(name: str) -> str:
        if name not in _PERCENTILES:
            return f"{_STATISTICS[name].format(expression)} FILTER (WHERE {where})"
        # The same aggregate for all of them is computed once: each keeps all values until the end.
        return f"(quantile_cont({expression}, {shares}) FILTER (WHERE {where}))[{shares.index(_PERCENTILES[name]) + 1}]"

    return struct((name + suffix, f"round({statistic(name)}, 3)") for name in names)


def struct(fields: Iterable[tuple[str, str]]) -> str:
    """An SQL struct of named expressions; duckdb hands it over as a dictionary."""
    return "{" + ", ".join(f"'{name}': {expression}" for name, expression in fields) + "}"
