"""The text of a Logs Insights query as a tree.

    parse('filter @type = "REPORT" | stats avg(@duration) as mean by bin(5m)')
    -> (Filter(Comparison("=", Field("@type"), Text("REPORT"))),
        Stats((Item(Call("avg", (Field("@duration"),)), "mean", "avg(@duration)"),), (Item(Call("bin", …), …),)))

Only the form is judged here; whether a function exists, or a command may stand where it does, is the compiler's
business. The language: AWS documentation, "CloudWatch Logs Insights language query syntax"
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken, VisitError

from sandbox.insights.errors import MalformedQuery

MAX_QUERY_CHARACTERS = 10_000

GRAMMAR = r"""
start: command ("|" command)*

?command: "fields"i items                                        -> fields
        | "display"i items                                       -> display
        | ("filter"i | "where"i) condition                       -> filter
        | "stats"i items ("by"i items)?                          -> stats
        | "sort"i sort_key ("," sort_key)*                       -> sort
        | "limit"i "any"i? NUMBER                                -> limit
        | "dedup"i field ("," field)*                            -> dedup
        | "parse"i field string AS alias ("," alias)*         -> parse_glob
        | "parse"i field REGEX                                   -> parse_regex

items: item ("," item)*
item: condition (AS alias)?
sort_key: condition DIRECTION?

?condition: conjunction
          | conjunction ("or"i conjunction)+                     -> disjunction
?conjunction: negation
            | negation ("and"i negation)+                        -> conjunction
?negation: comparison
         | "not"i negation                                       -> negation
?comparison: sum
           | sum COMPARISON sum                                  -> comparison
           | sum "like"i pattern                                 -> like
           | sum MATCHES pattern                                 -> like
           | sum "not"i "like"i pattern                          -> not_like
           | sum "in"i choices                                    -> membership
           | sum "not"i "in"i choices                             -> no_membership
?sum: product
    | product (SIGN product)+                                    -> arithmetic
?product: power
        | power (FACTOR power)+                                  -> arithmetic
?power: signed
      | signed "^" power                                         -> power
?signed: atom
       | "-" signed                                              -> minus
?atom: field
     | NUMBER                                                    -> number
     | PERIOD                                                    -> period
     | string
     | NAME "(" "*" ")"                                          -> call_star
     | NAME "(" (condition ("," condition)*)? ")"                -> call
     | "(" condition ")"

?pattern: string | REGEX                                         -> regex
choices: "[" literal ("," literal)* "]"
?literal: string | NUMBER -> number | "-" NUMBER                 -> minus_number

field: NAME | QUOTED_NAME
alias: NAME | QUOTED_NAME
string: STRING

DIRECTION.3: /(asc|desc)(?![\w.@])/i
SIGN: "+" | "-"
FACTOR: "*" | "/" | "%"
AS: /as(?![\w.@])/i
MATCHES.3: "=~"
COMPARISON: "!=" | "<=" | ">=" | "=" | "<" | ">"
PERIOD.3: /\d+(ms|s|m|h|d)(?![\w.@])/
NUMBER.2: /(\d+(\.\d+)?|\.\d+)([eE][+-]?\d+)?(?![\w.@])/
NAME: /@{0,2}[^\W\d][\w.@]*/
QUOTED_NAME: /`[^`]+`/
STRING: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
REGEX: /\/(?:\[(?:[^\]\\\n]|\\.)+\]|[^\/\\\n]|\\.)+\//
COMMENT: /#[^\n]*/
%ignore COMMENT
%ignore /\s+/
"""


@dataclass(frozen=True)
class Node:
    """Anything that stands at a place in the query's text."""

    start: int
    end: int


@dataclass(frozen=True)
class Field(Node):
    name: str


@dataclass(frozen=True)
class Number(Node):
    value: float


@dataclass(frozen=True)
class Text(Node):
    value: str


@dataclass(frozen=True)
class Regex(Node):
    pattern: str


@dataclass(frozen=True)
class Period(Node):
    """A length of time as written: `300s` is (300, "s")."""

    count: int
    unit: str


@dataclass(frozen=True)
class Call(Node):
    """`name` in lower case. `star`: written as name(*)."""

    name: str
    arguments: tuple[Expression, ...]
    star: bool = False


@dataclass(frozen=True)
class Chain(Node):
    """Operands of one level joined by binary operators, evaluated from the left: and, or, + - and * / %."""

    operators: tuple[str, ...]
    operands: tuple[Expression, ...]


@dataclass(frozen=True)
class Power(Node):
    base: Expression
    exponent: Expression


@dataclass(frozen=True)
class Minus(Node):
    operand: Expression


@dataclass(frozen=True)
class Not(Node):
    operand: Expression


@dataclass(frozen=True)
class Comparison(Node):
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Like(Node):
    operand: Expression
    pattern: Text | Regex


@dataclass(frozen=True)
class Membership(Node):
    operand: Expression
    choices: tuple[Number | Text, ...]


Expression: TypeAlias = (
    Field | Number | Text | Period | Call | Chain | Power | Minus | Not | Comparison | Like | Membership
)


@dataclass(frozen=True)
class Item(Node):
    """One column of fields, display or stats. `text`: as written, white space evened out, without the alias."""

    expression: Expression
    alias: str | None
    text: str

    @property
    def name(self) -> str:
        """What the column is called in the results."""
        if self.alias is not None:
            return self.alias
        return self.expression.name if isinstance(self.expression, Field) else self.text


@dataclass(frozen=True)
class SortKey(Node):
    expression: Expression
    descending: bool
    text: str


@dataclass(frozen=True)
class Fields(Node):
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Display(Node):
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Filter(Node):
    condition: Expression


@dataclass(frozen=True)
class Stats(Node):
    items: tuple[Item, ...]
    keys: tuple[Item, ...]


@dataclass(frozen=True)
class Sort(Node):
    keys: tuple[SortKey, ...]


@dataclass(frozen=True)
class Limit(Node):
    count: int


@dataclass(frozen=True)
class Dedup(Node):
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class ParseGlob(Node):
    source: Field
    glob: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class ParseRegex(Node):
    source: Field
    regex: Regex


Command: TypeAlias = Fields | Display | Filter | Stats | Sort | Limit | Dedup | ParseGlob | ParseRegex

_ESCAPES = {"t": "\t", "n": "\n", "r": "\r"}
_SPACE = re.compile(r"\s+")


def _unquoted(token: Token) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), token[1:-1], flags=re.DOTALL)


def _name(token: Token) -> str:
    return str(token[1:-1]) if token.type == "QUOTED_NAME" else str(token)


def _span(meta: Any) -> tuple[int, int]:
    return (meta.start_pos, meta.end_pos)


@v_args(meta=True, inline=False)
class _Builder(Transformer[Token, tuple[Command, ...]]):
    """From lark's tree to ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def _written(self, start: int, end: int) -> str:
        return _SPACE.sub(" ", self._text[start:end]).strip()

    def start(self, meta: Any, commands: list[Command]) -> tuple[Command, ...]:
        return tuple(commands)

    def fields(self, meta: Any, children: list[Any]) -> Fields:
        return Fields(*_span(meta), children[0])

    def display(self, meta: Any, children: list[Any]) -> Display:
        return Display(*_span(meta), children[0])

    def filter(self, meta: Any, children: list[Any]) -> Filter:
        return Filter(*_span(meta), children[0])

    def stats(self, meta: Any, children: list[Any]) -> Stats:
        return Stats(*_span(meta), children[0], children[1] if len(children) > 1 else ())

    def sort(self, meta: Any, children: list[Any]) -> Sort:
        return Sort(*_span(meta), tuple(children))

    def limit(self, meta: Any, children: list[Any]) -> Limit:
        value = float(children[0])
        if not value.is_integer():
            raise MalformedQuery(f"limit takes a whole number, not {children[0]}", *_span(meta))
        return Limit(*_span(meta), int(value))

    def dedup(self, meta: Any, children: list[Any]) -> Dedup:
        return Dedup(*_span(meta), tuple(children))

    def parse_glob(self, meta: Any, children: list[Any]) -> ParseGlob:
        return ParseGlob(*_span(meta), children[0], children[1].value, tuple(children[3:]))

    def parse_regex(self, meta: Any, children: list[Any]) -> ParseRegex:
        return ParseRegex(*_span(meta), children[0], _regex(children[1]))

    def items(self, meta: Any, children: list[Any]) -> tuple[Item, ...]:
        return tuple(children)

    def item(self, meta: Any, children: list[Any]) -> Item:
        if len(children) == 1:
            return Item(*_span(meta), children[0], None, self._written(meta.start_pos, meta.end_pos))
        expression, as_word, alias = children
        return Item(*_span(meta), expression, alias, self._written(meta.start_pos, as_word.start_pos))

    def sort_key(self, meta: Any, children: list[Any]) -> SortKey:
        if len(children) == 1:
            return SortKey(*_span(meta), children[0], False, self._written(meta.start_pos, meta.end_pos))
        expression, direction = children
        text = self._written(meta.start_pos, direction.start_pos)
        return SortKey(*_span(meta), expression, direction.lower() == "desc", text)

    def disjunction(self, meta: Any, children: list[Any]) -> Chain:
        return Chain(*_span(meta), ("or",) * (len(children) - 1), tuple(children))

    def conjunction(self, meta: Any, children: list[Any]) -> Chain:
        return Chain(*_span(meta), ("and",) * (len(children) - 1), tuple(children))

    def negation(self, meta: Any, children: list[Any]) -> Not:
        return Not(*_span(meta), children[0])

    def comparison(self, meta: Any, children: list[Any]) -> Comparison:
        return Comparison(*_span(meta), str(children[1]), children[0], children[2])

    def like(self, meta: Any, children: list[Any]) -> Like:
        return Like(*_span(meta), children[0], children[-1])

    def not_like(self, meta: Any, children: list[Any]) -> Not:
        return Not(*_span(meta), Like(*_span(meta), *children))

    def membership(self, meta: Any, children: list[Any]) -> Membership:
        return Membership(*_span(meta), *children)

    def no_membership(self, meta: Any, children: list[Any]) -> Not:
        return Not(*_span(meta), Membership(*_span(meta), *children))

    def arithmetic(self, meta: Any, children: list[Any]) -> Chain:
        return Chain(*_span(meta), tuple(map(str, children[1::2])), tuple(children[0::2]))

    def power(self, meta: Any, children: list[Any]) -> Power:
        return Power(*_span(meta), *children)

    def minus(self, meta: Any, children: list[Any]) -> Minus:
        return Minus(*_span(meta), children[0])

    def number(self, meta: Any, children: list[Any]) -> Number:
        return Number(*_span(meta), float(children[0]))

    def minus_number(self, meta: Any, children: list[Any]) -> Number:
        return Number(*_span(meta), -float(children[0]))

    def period(self, meta: Any, children: list[Any]) -> Period:
        count, unit = re.fullmatch(r"(\d+)(\w+)", children[0], re.ASCII).groups()  # type: ignore[union-attr]
        return Period(*_span(meta), int(count), unit)

    def call(self, meta: Any, children: list[Any]) -> Call:
        return Call(*_span(meta), str(children[0]).lower(), tuple(children[1:]))

    def call_star(self, meta: Any, children: list[Any]) -> Call:
        return Call(*_span(meta), str(children[0]).lower(), (), star=True)

    def regex(self, meta: Any, children: list[Any]) -> Regex:
        return _regex(children[0])

    def choices(self, meta: Any, children: list[Any]) -> tuple[Number | Text, ...]:
        return tuple(children)

    def field(self, meta: Any, children: list[Any]) -> Field:
        return Field(*_span(meta), _name(children[0]))

    def alias(self, meta: Any, children: list[Any]) -> str:
        return _name(children[0])

    def string(self, meta: Any, children: list[Any]) -> Text:
        return Text(*_span(meta), _unquoted(children[0]))


def _regex(token: Token) -> Regex:
    return Regex(token.start_pos or 0, token.end_pos or 0, token[1:-1].replace(r"\/", "/"))


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", propagate_positions=True, maybe_placeholders=False)


def parse(text: str) -> tuple[Command, ...]:
    """The commands of a query, in order. Raises MalformedQuery with the place of the first fault."""
    if len(text) > MAX_QUERY_CHARACTERS:
        raise MalformedQuery(f"a query has at most {MAX_QUERY_CHARACTERS} characters", MAX_QUERY_CHARACTERS, len(text))
    try:
        tree = _parser().parse(text)
        return _Builder(text).transform(tree)
    except UnexpectedEOF:
        raise MalformedQuery("unexpected end of the query", len(text)) from None
    except UnexpectedToken as error:
        token = error.token
        if token.type == "$END":
            raise MalformedQuery("unexpected end of the query", len(text)) from None
        start = token.start_pos or 0
        raise MalformedQuery(f"unexpected {str(token)!r}", start, token.end_pos or start) from None
    except UnexpectedCharacters as error:
        start = error.pos_in_stream or 0
        word = re.match(r"[\w@.]+|.", text[start:], re.DOTALL)
        found = word[0] if word else ""
        raise MalformedQuery(f"unexpected {found!r}", start, start + len(found)) from None
    except VisitError as error:
        if isinstance(error.orig_exc, MalformedQuery):
            raise error.orig_exc from None
        raise
    except RecursionError:
        raise MalformedQuery("nested too deeply") from None
