"""A query as SQL.

    compile_query('filter @type = "REPORT" | stats max(@duration) as slowest by bin(5m)', now=…)
    -> CompiledQuery(sql="SELECT … FROM (SELECT … FROM events WHERE …) …", matched_sql="SELECT count(*) FROM …")

Each command wraps the relation before it in one more SELECT, so commands mean what their order says. The relation at
the bottom is `events` (sandbox.logs.EVENT_SCHEMA); what Logs Insights discovers in a message is written as an
expression wherever it is asked for, so that the database reads and computes only what a query needs.

What is outside the supported language raises MalformedQuery: nothing is ever ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from sandbox.insights import functions, regexes, syntax
from sandbox.insights.errors import MalformedQuery
from sandbox.insights.fields import DISCOVERED, discovered
from sandbox.insights.values import (
    ABSENT,
    Kind,
    Value,
    as_condition,
    as_number,
    as_text,
    as_time,
    compared,
    member_of,
    number_literal,
    sort_terms,
    text_literal,
)

MAX_RESULTS = 100_000
DEFAULT_RESULTS = 10_000
MAX_COMMANDS = 100
MAX_OPERANDS = 300
"""Commands in one query, and operands joined by operators of one level: ours, so that no query can keep the database
busy with its mere length."""
MAX_STATS = 10
"""`stats` commands in one query (AWS, newest limit)."""

_PERIODS = {"ms": (1, 1000), "s": (1000, 60), "m": (60_000, 60), "h": (3_600_000, 24), "d": (86_400_000, None)}
"""Unit -> (milliseconds, cap). More than the cap silently becomes the cap, as on AWS: 300s is 60 seconds."""

_EVENT_ORDER = ("at_ms DESC", "seq DESC")
_DEFAULT_FIELDS = ("@timestamp", "@message")
_POINTER = "@ptr"


@dataclass(frozen=True)
class CompiledQuery:
    """`sql` gives each result row, in order, as JSON text: [{"field": "level", "value": "INFO"}, …].
    `matched_sql` counts the events that passed the filters."""

    sql: str
    matched_sql: str


def compile_query(text: str, *, now: float, limit: int = DEFAULT_RESULTS) -> CompiledQuery:
    """`now`: epoch seconds, what now() gives. `limit`: rows where the query itself does not say. Raises
    MalformedQuery."""
    commands = syntax.parse(text)
    try:
        return _Compiler(now).compile(commands, limit)
    except RecursionError:
        raise MalformedQuery("nested too deeply", 0, len(text)) from None


@dataclass(frozen=True)
class _Relation:
    """What a command reads: rows, how their columns are called in SQL, and the order they are in."""

    sql: str = "events"
    columns: dict[str, Value] = field(default_factory=dict)  # fields made by the query, by name
    aggregated: bool = False
    order: tuple[str, ...] = _EVENT_ORDER

    def value(self, name: str) -> Value:
        """A field by name; ABSENT where there is none."""
        if name in self.columns:
            return self.columns[name]
        return ABSENT if self.aggregated else discovered(name)


class _Compiler:
    def __init__(self, now: float) -> None:
        self._now = now
        self._made = 0
        self._shown: list[str] = []  # by fields, parse and stats, in order
        self._listed = False  # whether fields or stats said what to show
        self._display: list[str] | None = None
        self._matched: str | None = None
        self._limited: int | None = None

    def compile(self, commands: Sequence[syntax.Command], limit: int) -> CompiledQuery:
        if len(commands) > MAX_COMMANDS:
            raise MalformedQuery(
                f"a query has at most {MAX_COMMANDS} commands", commands[MAX_COMMANDS].start, commands[-1].end
            )
        relation = _Relation()
        stats_left = sum(isinstance(command, syntax.Stats) for command in commands)
        if stats_left > MAX_STATS:
            raise MalformedQuery(f"a query has at most {MAX_STATS} stats commands", commands[0].start, commands[-1].end)
        deduplicated = False
        for command in commands:
            if deduplicated and not isinstance(command, syntax.Limit):
                raise MalformedQuery("only limit may follow dedup", command.start, command.end)
            if stats_left and isinstance(command, syntax.Sort | syntax.Limit | syntax.Dedup):
                name = type(command).__name__.lower()
                raise MalformedQuery(f"{name} may only follow the last stats", command.start, command.end)
            match command:
                case syntax.Filter():
                    relation = self._filter(relation, command)
                case syntax.Fields():
                    relation = self._fields(relation, command)
                case syntax.Display():
                    relation = self._show_only(relation, command)
                case syntax.ParseGlob() | syntax.ParseRegex():
                    relation = self._parse(relation, command)
                case syntax.Stats():
                    relation = self._stats(relation, command)
                    stats_left -= 1
                case syntax.Sort():
                    relation = self._sort(relation, command)
                case syntax.Limit():
                    relation = self._limit(relation, command)
                case syntax.Dedup():
                    relation = self._dedup(relation, command)
                    deduplicated = True
        return self._results(relation, limit)

    # commands

    def _filter(self, relation: _Relation, command: syntax.Filter) -> _Relation:
        condition = as_condition(self._expression(relation, command.condition))
        return replace(relation, sql=f"(SELECT * FROM {relation.sql} WHERE {condition})")

    def _fields(self, relation: _Relation, command: syntax.Fields) -> _Relation:
        relation, names = self._made_items(relation, command.items)
        self._listed = True
        self._shown += names
        return relation

    def _show_only(self, relation: _Relation, command: syntax.Display) -> _Relation:
        relation, names = self._made_items(relation, command.items)
        self._display = names
        return relation

    def _made_items(self, relation: _Relation, items: Iterable[syntax.Item]) -> tuple[_Relation, list[str]]:
        """The relation with a column for every item that is more than the name of a field, and the items' names."""
        names: list[str] = []
        made: dict[str, Value] = {}
        for item in items:
            names.append(item.name)
            if item.alias is None and isinstance(item.expression, syntax.Field):
                continue
            if any(name in made for name in _field_names(item.expression)):
                # it uses what an earlier item of the same command makes
                relation, made = self._with_columns(relation, made), {}
            made[item.name] = self._written_value(relation, item.expression, item.text)
        return self._with_columns(relation, made), names

    def _parse(self, relation: _Relation, command: syntax.ParseGlob | syntax.ParseRegex) -> _Relation:
        if isinstance(command, syntax.ParseGlob):
            count = regexes.wildcards(command.glob)
            if count != len(command.names):
                message = f"the glob has {count} * for {len(command.names)} names"
                raise MalformedQuery(message, command.start, command.end)
            captures = regexes.Captures(regexes.from_glob(command.glob), command.names)
        else:
            captures = regexes.from_regex(command.regex.pattern)
        names = [name for name in captures.names if name is not None]
        if not names:
            raise MalformedQuery("parse needs named groups, (?<name>…)", command.start, command.end)
        if len(set(names)) < len(names):
            raise MalformedQuery("parse gives one name twice", command.start, command.end)
        source = as_text(relation.value(command.source.name))
        # one pass for all groups; the outermost tells a match from none
        groups = ", ".join(f"'g{index}'" for index in range(len(captures.names) + 1))
        found = f"regexp_extract({source}, {text_literal(f'({captures.pattern})')}, [{groups}])"
        column = self._new_column()
        columns = {
            name: Value(f"(CASE WHEN {column}.g0 <> '' THEN {column}.g{index} END)", Kind.TEXT)
            for index, name in enumerate(captures.names, start=1)
            if name is not None
        }
        self._shown += names
        return replace(
            relation,
            sql=f"(SELECT *, {found} AS {column} FROM {relation.sql})",
            columns=relation.columns | columns,
        )

    def _stats(self, relation: _Relation, command: syntax.Stats) -> _Relation:
        if not relation.aggregated:
            self._matched = relation.sql
        keys = {item.name: self._written_value(relation, item.expression, item.text) for item in command.keys}
        aggregates: list[tuple[str, Value]] = []

        def aggregate(call: syntax.Call) -> Value:
            value = self._aggregate(relation, call)
            column = self._new_column()
            aggregates.append((column, value))
            return Value(column, value.kind)

        key_columns = {name: self._new_column() for name in keys}
        grouped: dict[str, Value] = {name: Value(key_columns[name], keys[name].kind) for name in keys}
        made: dict[str, Value] = {}
        for item in command.items:
            if item.name in grouped or item.name in made:
                raise MalformedQuery(f"stats gives the name {item.name!r} twice", item.start, item.end)
            scope = _Relation("", grouped | made, aggregated=True)
            made[item.name] = self._expression(scope, item.expression, aggregate)
        if not aggregates:
            raise MalformedQuery("stats needs an aggregate function such as count(*)", command.start, command.end)
        selected = [f"{keys[name].sql} AS {column}" for name, column in key_columns.items()]
        selected += [f"{value.sql} AS {column}" for column, value in aggregates]
        by = f"GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else "HAVING count(*) > 0"
        order: list[str] = []
        for value in grouped.values():
            order += sort_terms(value, descending=value.kind is Kind.TIME)
        self._listed = True
        self._display = None
        self._shown = [*grouped, *made]
        sql = f"(SELECT {', '.join(selected)} FROM {relation.sql} {by})"
        aggregated = _Relation(sql, grouped, aggregated=True, order=tuple(order) or ("1",))
        return self._with_columns(aggregated, made)

    def _sort(self, relation: _Relation, command: syntax.Sort) -> _Relation:
        order: list[str] = []
        for key in command.keys:
            order += sort_terms(self._written_value(relation, key.expression, key.text), key.descending)
        if not relation.aggregated:
            order.append("seq DESC" if command.keys[0].descending else "seq ASC")
        return replace(relation, order=(*order, *(relation.order if relation.aggregated else ())))

    def _limit(self, relation: _Relation, command: syntax.Limit) -> _Relation:
        if not 1 <= command.count <= MAX_RESULTS:
            raise MalformedQuery(f"limit takes 1 to {MAX_RESULTS}", command.start, command.end)
        if self._matched is None:
            self._matched = relation.sql
        self._limited = command.count
        sql = f"(SELECT * FROM {relation.sql} ORDER BY {', '.join(relation.order)} LIMIT {command.count})"
        return replace(relation, sql=sql)

    def _dedup(self, relation: _Relation, command: syntax.Dedup) -> _Relation:
        """The first row in the present order for each combination of values; rows that lack one of them all stay."""
        if self._matched is None:
            self._matched = relation.sql
        keys = [relation.value(key.name).sql for key in command.fields]
        rank = f"row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {', '.join(relation.order)})"
        kept = " OR ".join([f"{rank} = 1", *(f"{key} IS NULL" for key in keys)])
        return replace(relation, sql=f"(SELECT * FROM {relation.sql} QUALIFY {kept})")

    def _results(self, relation: _Relation, limit: int) -> CompiledQuery:
        names = self._display
        if names is None:
            names = self._shown if self._listed else [*_DEFAULT_FIELDS, *self._shown]
        if not relation.aggregated:
            names = [*names, _POINTER]
        names = list(dict.fromkeys(names))
        # computed first and written as text in a layer of its own: the macros that do so name their argument often
        relation = self._with_columns(relation, {name: relation.value(name) for name in names})
        texts = ", ".join(f"{as_text(relation.value(name))} AS v{index}" for index, name in enumerate(names))
        rows = self._limited if self._limited is not None else limit
        found = f"SELECT {texts} FROM {relation.sql} ORDER BY {', '.join(relation.order)} LIMIT {rows}"
        cells = ", ".join(_cell(name, f"v{index}") for index, name in enumerate(names))
        sql = f"SELECT '[' || concat_ws(',', {cells}) || ']' AS cells FROM ({found})"
        matched = f"SELECT count(*) FROM {relation.sql if self._matched is None else self._matched}"
        return CompiledQuery(sql, matched)

    # columns

    def _new_column(self) -> str:
        self._made += 1
        return f"c{self._made}"

    def _with_columns(self, relation: _Relation, made: dict[str, Value]) -> _Relation:
        if not made:
            return relation
        columns = {name: Value(self._new_column(), value.kind) for name, value in made.items()}
        selected = ", ".join(f"{made[name].sql} AS {column.sql}" for name, column in columns.items())
        sql = f"(SELECT *, {selected} FROM {relation.sql})"
        return replace(relation, sql=sql, columns=relation.columns | columns)

    # expressions

    def _written_value(self, relation: _Relation, expression: syntax.Expression, text: str) -> Value:
        """An expression, or the column that an earlier command made of the very same text: `sort count(*) desc`."""
        return relation.columns[text] if text in relation.columns else self._expression(relation, expression)

    def _expression(
        self,
        relation: _Relation,
        node: syntax.Expression,
        aggregate: Callable[[syntax.Call], Value] | None = None,
    ) -> Value:
        """`aggregate` compiles a call of an aggregate function; None where none may stand."""

        def compiled(part: syntax.Expression) -> Value:
            return self._expression(relation, part, aggregate)

        match node:
            case syntax.Field():
                if aggregate and node.name not in relation.columns:
                    message = f"{node.name} is neither a name of this stats command nor inside an aggregate function"
                    raise MalformedQuery(message, node.start, node.end)
                return relation.value(node.name)
            case syntax.Number():
                return Value(number_literal(node.value), Kind.NUMBER)
            case syntax.Text():
                return Value(text_literal(node.value), Kind.TEXT, constant=node.value)
            case syntax.Period():
                raise MalformedQuery("a time period stands only in bin, datefloor and dateceil", node.start, node.end)
            case syntax.Minus():
                return Value(f"(- {as_number(compiled(node.operand))})", Kind.NUMBER)
            case syntax.Not():
                return Value(f"(NOT {as_condition(compiled(node.operand))})", Kind.BOOLEAN)
            case syntax.Power():
                base, exponent = as_number(compiled(node.base)), as_number(compiled(node.exponent))
                return Value(f"pow({base}, {exponent})", Kind.NUMBER)
            case syntax.Chain():
                if len(node.operands) > MAX_OPERANDS:
                    raise MalformedQuery(
                        f"at most {MAX_OPERANDS} operands may follow one another", node.start, node.end
                    )
                return _chain(node.operators, [compiled(operand) for operand in node.operands])
            case syntax.Comparison():
                return compared(node.operator, compiled(node.left), compiled(node.right))
            case syntax.Like():
                return _like(compiled(node.operand), node.pattern)
            case syntax.Membership():
                texts = [choice.value for choice in node.choices if isinstance(choice, syntax.Text)]
                numbers = [choice.value for choice in node.choices if isinstance(choice, syntax.Number)]
                return member_of(compiled(node.operand), texts, numbers)
            case syntax.Call():
                if node.name in _AGGREGATES:
                    if aggregate is None:
                        raise MalformedQuery(f"{node.name}() stands only in stats", node.start, node.end)
                    return aggregate(node)
                return self._call(relation, node, compiled)

    def _call(self, relation: _Relation, node: syntax.Call, compiled: Callable[[syntax.Expression], Value]) -> Value:
        if node.star:
            raise MalformedQuery(f"{node.name}(*) is not known", node.start, node.end)
        match node.name:
            case "now":
                _check_arguments(node, 0, 0)
                return Value(f"CAST({int(self._now)} AS BIGINT)", Kind.INTEGER)
            case "bin":
                _check_arguments(node, 1, 1)
                if relation.aggregated:
                    message = "bin() needs the events' @timestamp, which stats has summed up; use datefloor"
                    raise MalformedQuery(message, node.start, node.end)
                return functions.floor_time(DISCOVERED["@timestamp"].sql, _period_ms(node.arguments[0]))
            case "datefloor" | "dateceil":
                _check_arguments(node, 2, 2)
                rounded = functions.floor_time if node.name == "datefloor" else functions.ceil_time
                return rounded(as_time(compiled(node.arguments[0])), _period_ms(node.arguments[1]))
        function = functions.SCALAR.get(node.name)
        if function is None:
            raise MalformedQuery(f"the function {node.name} is not known", node.start, node.end)
        _check_arguments(node, function.least, function.most)
        return function.build([compiled(argument) for argument in node.arguments])

    def _aggregate(self, relation: _Relation, node: syntax.Call) -> Value:
        if node.name == "count" and (node.star or not node.arguments):
            return Value("count(*)", Kind.INTEGER)
        if node.star:
            raise MalformedQuery(f"{node.name}(*) is not known", node.start, node.end)
        _check_arguments(node, *((2, 2) if node.name == "pct" else (1, 1)))
        value = self._expression(relation, node.arguments[0])
        match node.name:
            case "pct":
                percent = node.arguments[1]
                if not isinstance(percent, syntax.Number) or not 0 <= percent.value <= 100:
                    raise MalformedQuery("pct takes a percentage from 0 to 100", percent.start, percent.end)
                return functions.percentile(value, percent.value)
            case "earliest" | "latest":
                if relation.aggregated:
                    message = f"{node.name}() needs the events' @timestamp, which stats has summed up"
                    raise MalformedQuery(message, node.start, node.end)
                function = "arg_min" if node.name == "earliest" else "arg_max"
                return Value(f"{function}({value.sql}, (at_ms, seq))", value.kind)
        return functions.AGGREGATE[node.name](value)


_AGGREGATES = frozenset(functions.AGGREGATE) | {"pct", "earliest", "latest"}


def _cell(name: str, column: str) -> str:
    """One {field, value} of a result row as JSON text; NULL where there is no value."""
    start = text_literal(f'{{"field":{json.dumps(name)},"value":')
    return f"CASE WHEN {column} IS NOT NULL THEN {start} || to_json({column}) || '}}' END"


def _field_names(node: syntax.Expression) -> Iterable[str]:
    if isinstance(node, syntax.Field):
        yield node.name
    for attribute in vars(node).values():
        for part in attribute if isinstance(attribute, tuple) else (attribute,):
            if isinstance(part, syntax.Node):
                yield from _field_names(part)  # type: ignore[arg-type]


def _chain(operators: Sequence[str], operands: list[Value]) -> Value:
    if operators[0] in ("and", "or"):
        joined = f" {operators[0].upper()} ".join(map(as_condition, operands))
        return Value(f"({joined})", Kind.BOOLEAN)
    sql = as_number(operands[0])
    for operator, operand in zip(operators, operands[1:], strict=True):
        # by zero: absent, neither infinity nor an error
        right = f"nullif({as_number(operand)}, 0)" if operator in "/%" else as_number(operand)
        sql = f"{sql} {operator} {right}"
    return Value(f"({sql})", Kind.NUMBER)


def _like(operand: Value, pattern: syntax.Text | syntax.Regex) -> Value:
    if isinstance(pattern, syntax.Text):
        test = f"contains({as_text(operand)}, {text_literal(pattern.value)})"
    else:
        regex = text_literal(regexes.from_regex(pattern.pattern).pattern)
        test = f"regexp_matches({as_text(operand)}, {regex})"
    return Value(f"coalesce({test}, false)", Kind.BOOLEAN)


def _period_ms(node: syntax.Expression) -> int:
    if not isinstance(node, syntax.Period):
        raise MalformedQuery("a time period is needed here, such as 5m", node.start, node.end)
    unit_ms, cap = _PERIODS[node.unit]
    count = node.count if cap is None else min(node.count, cap)
    if not 1 <= count <= 36_500:
        raise MalformedQuery("no such time period", node.start, node.end)
    return count * unit_ms


def _check_arguments(node: syntax.Call, least: int, most: int | None) -> None:
    count = len(node.arguments)
    if count < least or (most is not None and count > most):
        wanted = str(least) if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        raise MalformedQuery(f"{node.name} takes {wanted} arguments, not {count}", node.start, node.end)
