"""Values with templates in them: `{"id": "{{ row.id }}", "at": "{{ now_ms() }}"}` -> `{"id": 17, "at": 1795255201000}`.

Each string is a Jinja2 template of its own, compiled once, in Jinja2's sandbox; a name that does not exist is an error.
A string that is one expression and nothing else becomes the expression's value, of whatever type; any other becomes
text. Tables stay tables, and are written as JSON afterwards: whatever stands in a row, it cannot break out of its
string.

    row               the payload's row          unique_id()              a UUID
    env               variables, by name         now()                    epoch seconds
    random_int(a, b)  a <= whole number <= b     now_ms()                 epoch milliseconds
    random_float(a, b)                           now_iso()                2026-11-21T10:00:01.234Z
    random_choice([..])                          random_hex(digits)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID

from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment

_NAMES_SHOWN = 20
Render = Callable[[], Any]
"""A value, made anew; reads the row that was set last."""


class RenderError(Exception):
    """A template cannot be rendered with this row; the text says which and why."""


class Templates:
    """Compiles values; what they make of a row depends on the row set last."""

    def __init__(self, variables: Mapping[str, str], source: Random, clock: Callable[[], float]) -> None:
        """`source` is for random values, `clock` gives epoch seconds. Ids are the system's: they never repeat."""
        ids = Random()
        self._variables = sorted(filter(None, variables.values()), key=len, reverse=True)
        self._values = _Environment(undefined=StrictUndefined)
        self._paths = _Environment(undefined=StrictUndefined, finalize=_percent_encoded)
        self._scope: dict[str, Any] = {
            "env": _Variables(variables),
            "unique_id": lambda: str(UUID(int=ids.getrandbits(128), version=4)),
            "now": clock,
            "now_ms": lambda: int(clock() * 1000),
            "now_iso": lambda: datetime.fromtimestamp(clock(), UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "random_int": source.randint,
            "random_float": source.uniform,
            "random_choice": lambda values: source.choice(list(values)),
            "random_hex": lambda digits: f"{source.getrandbits(4 * digits):0{digits}x}",
        }

    def set_row(self, row: Mapping[str, Any] | None) -> None:
        """What `row` stands for from now on; None: there is none."""
        if row is None:
            self._scope.pop("row", None)
        else:
            self._scope["row"] = row

    def value(self, written: Any, where: str) -> Render:
        """What makes a value of tables, lists and strings. Raises ValueError naming the template's place."""
        if not _has_template(written):
            return lambda: written
        if isinstance(written, Mapping):
            members = [(key, self.value(value, f"{where}.{key}")) for key, value in written.items()]
            return lambda: {key: render() for key, render in members}
        if isinstance(written, list | tuple):
            items = [self.value(value, f"{where}.{number}") for number, value in enumerate(written, 1)]
            return lambda: [render() for render in items]
        return self._template(self._values, written, where)

    def text(self, written: str, where: str) -> Callable[[], str]:
        """As `value`, and always text."""
        render = self.value(written, where)
        return lambda: str(render())

    def path(self, written: str, where: str) -> Callable[[], str]:
        """A path or its query: what templates put into it is percent-encoded, slashes too."""
        if not _has_template(written):
            return lambda: written
        render = self._template(self._paths, written, where)
        return lambda: str(render())

    def _without_secrets(self, text: str) -> str:
        """Without the values of variables: what is raised is recorded."""
        for value in self._variables:
            text = text.replace(value, "***")
        return text

    def _template(self, environment: _Environment, written: str, where: str) -> Render:
        try:
            template = environment.from_string(written)
        except TemplateError as malformed:
            raise ValueError(f"{where}: {malformed}") from None
        # The scope is handed over as it is, once: to make a context costs three times what the rendering does.
        context = template.new_context(self._scope, shared=True)
        root = template.root_render_func
        assigns = "{%" in written

        def render() -> Any:
            try:
                value = _joined(root(context))
            except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as failure:
                raise RenderError(f"{where}: {self._without_secrets(str(failure))}") from None
            if assigns:
                context.vars.clear()
                context.exported_vars.clear()
            return value

        return render


class _Environment(ImmutableSandboxedEnvironment):
    """Templates that give values, not only text."""

    code_generator_class = NativeCodeGenerator

    def __init__(self, **options: Any) -> None:
        super().__init__(autoescape=False, **options)
        # Loops have the row to go through, and random values come from the run's seed.
        self.globals.clear()
        self.filters.pop("random")

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`row.items` is the column of that name."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return self._said(super().getattr(obj, attribute), obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._said(super().getitem(obj, argument), obj, argument)

    def _said(self, found: Any, obj: Any, name: Any) -> Any:
        """What was found; where that is nothing, it says so in the words of whoever wrote the template."""
        # What the sandbox refuses has a hint already.
        if not (isinstance(found, Undefined) and isinstance(obj, Mapping)) or found._undefined_hint is not None:
            return found
        if isinstance(obj, _Variables):
            return self.undefined(f"env.{name}: the key `environment` of the file does not name it")
        there = ", ".join(map(repr, islice(obj, _NAMES_SHOWN))) + (", ..." if len(obj) > _NAMES_SHOWN else "")
        return self.undefined(f"there is no {name!r}, but {there or 'nothing'}")


class _Variables(dict[str, str]):
    """What `env` stands for."""


def _joined(parts: Iterable[Any]) -> Any:
    values = list(parts)
    if len(values) == 1:
        [value] = values
        # Jinja2 notices a name that does not exist when its text is asked for.
        return str(value) if isinstance(value, Undefined) else value
    return "".join(map(str, values))


_Environment.concat = staticmethod(_joined)  # for what {% set %} and macros gather


def _percent_encoded(value: Any) -> Any:
    return value if isinstance(value, Undefined) else quote(str(value), safe="")


def _has_template(written: Any) -> bool:
    if isinstance(written, str):
        return "{{" in written or "{%" in written or "{#" in written
    if isinstance(written, Mapping):
        return any(map(_has_template, written.values()))
    return isinstance(written, list | tuple) and any(map(_has_template, written))
