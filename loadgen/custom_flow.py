"""The flow `custom`, compiled: its templates, its checks, and the choice of the next request.

Knows nothing of Locust: `loadgen.custom_user` sends what is made here, `loadgen.custom_run` brings the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple, Protocol

from config.custom_flow import SERVICES, CustomFlow, Request
from loadgen.checks import Check, all_of, equals, has, matches, no_error_member, status_in, success_status, under
from loadgen.invocation import Invocation
from loadgen.payload_file import Row
from loadgen.publishing import SERVICES as SENDERS
from loadgen.publishing import EventKind
from loadgen.row_supply import OutOfRowsError
from loadgen.templates import RenderError, Templates

FLOW = "custom"
"""Name of the flow in profiles, rows and reports."""

_METHODS_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")
"""Have a body only where the file gives one: servers and proxies may refuse it (RFC 9110, 9.3.1, 9.3.2, 9.3.5), as
CloudFront does in front of an edge-optimized API."""
_EXPRESSION = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_NO_ROWS: tuple[tuple[Row, int] | None, ...] = (None,)


class Rows(Protocol):
    """Where rows come from: `row_supply.RowSupply`."""

    def take(self) -> tuple[Row, int]: ...


class Content(NamedTuple):
    """What goes out: one request, or several messages of one call."""

    destination: str
    """Path, function, queue URL, topic ARN, bus or stream."""
    headers: Mapping[str, str]
    bodies: Sequence[Mapping[str, Any] | None]


class CustomRequest:
    """One request of the flow's file."""

    def __init__(self, request: Request, number: int, templates: Templates) -> None:
        """Raises ValueError naming the key that cannot be compiled."""
        where = f"requests.{number}"
        self.kind = request.kind
        self.service = SERVICES.get(self.kind)
        """Of messages and invocations; None for an API."""
        self.weight = request.weight
        self.payload = request.payload
        self.batch = request.batch
        self.in_time = None if request.under is None else under(request.under)
        self.check = _check(request, where)
        self._templates = templates
        self._where = where
        self.invocation = Invocation()
        self.kind_of_event: EventKind | None = None
        # Of messages what stands behind the operation, which depends on how many there are.
        self.name = _row_names(request)[0] if request.kind in ("api", "invoke") else request.name or ""
        self.transport = "messages"
        """`api`, `invoke` or `messages`."""
        headers: Mapping[str, str] = {}
        if request.api is not None:
            self.transport = "api"
            self.method, written, headers = request.api.method, request.api.path, request.api.headers
            self._destination = templates.path(written, f"{where}.api.path")
        elif request.invoke is not None:
            self.transport, invoke = "invoke", request.invoke
            self.invocation = Invocation(invoke.invocation_type, invoke.qualifier, invoke.log_type)
            self._destination = templates.text(invoke.function, f"{where}.invoke.function")
        else:
            written, key = _message_destination(request)
            self._destination = templates.text(written, f"{where}.{self.kind}.{key}")
            if request.bus is not None:
                self.kind_of_event = EventKind(request.bus.source, request.bus.detail_type)
        self._headers = [
            (name, templates.text(value, f"{where}.api.headers.{name}")) for name, value in headers.items()
        ]
        body = request.body
        if body is None and not (request.api is not None and request.api.method in _METHODS_WITHOUT_BODY):
            # A row by itself is what is sent.
            body = "{{ row }}" if self.payload is not None else ({} if self.service else None)
        self._body = templates.value(body, f"{where}.body")

    def content(self, taken: Sequence[tuple[Row, int] | None]) -> Content:
        """What to send with these rows; None among them: there is no payload. Raises RenderError."""
        templates = self._templates
        bodies: list[Mapping[str, Any] | None] = []
        for row in taken:
            templates.set_row(None if row is None else row[0])
            body = self._body()
            if body is not None and not isinstance(body, Mapping):
                raise RenderError(f"{self._where}.body: it makes no JSON object")
            bodies.append(body)
        headers = {name: _header(render(), name, self._where) for name, render in self._headers}
        return Content(self._destination(), headers, bodies)


class CustomRequests:
    """All requests of a flow in one process, and the rows they take."""

    def __init__(
        self, flow: CustomFlow, variables: Mapping[str, str], source: Random, clock: Callable[[], float]
    ) -> None:
        """Raises ValueError with every problem, a line each."""
        templates = Templates(variables, source, clock)
        self.flow = flow
        self._all: list[CustomRequest] = []
        problems: list[str] = []
        for number, request in enumerate(flow.requests, 1):
            try:
                self._all.append(CustomRequest(request, number, templates))
            except ValueError as unsound:
                problems += str(unsound).splitlines()
        if problems:
            raise ValueError("\n".join(problems))
        self.unwritten = 0
        """Requests that could not be written; kept here for those who send."""
        self._rows: Mapping[str, Rows] = {}
        self.on_out_of_rows: Callable[[], None] = lambda: None
        """Called when nothing is left to send, more than once."""
        self._requests = list(self._all)
        """Those that still have rows."""
        self._weigh()

    @property
    def transports(self) -> list[str]:
        """What the flow's requests go through."""
        return list(dict.fromkeys(request.transport for request in self._all))

    def supply(self, rows: Mapping[str, Rows]) -> None:
        """Where the rows of each payload come from."""
        self._rows = rows

    def try_out(self, rows: Mapping[str, Row]) -> list[str]:
        """What is wrong with the templates, by a first row of each payload; empty where nothing is."""
        problems = []
        for request in self._all:
            try:
                request.content([(rows[request.payload], 0) if request.payload else None])
            except RenderError as failure:
                problems.append(str(failure))
        return problems

    def next(self, source: Random) -> tuple[CustomRequest, Content] | None:
        """The next request, by weight, with what to send; None where no request has rows left.

        Raises RenderError naming file and line of the row, PayloadFileError.
        """
        while self._requests:
            request = source.choices(self._requests, cum_weights=self._cumulative)[0]
            taken = self._take(request)
            if taken:
                try:
                    return request, request.content(taken)
                except RenderError as failure:
                    lines = ", ".join(str(row[1]) for row in taken if row is not None)
                    raise RenderError(
                        f"{failure} (payload {request.payload}, line {lines})" if lines else str(failure)
                    ) from None
            if request in self._requests:
                # Another user may have come to the end of the rows meanwhile.
                self._requests.remove(request)
                self._weigh()
        self.on_out_of_rows()
        return None

    def _take(self, request: CustomRequest) -> Sequence[tuple[Row, int] | None]:
        """A row for each message; fewer where no more are left, none where none is."""
        if request.payload is None:
            return _NO_ROWS * request.batch
        rows = self._rows[request.payload]
        taken: list[tuple[Row, int]] = []
        while len(taken) < request.batch:
            try:
                taken.append(rows.take())
            except OutOfRowsError:
                break
        return taken

    def _weigh(self) -> None:
        self._cumulative = list(accumulate(request.weight for request in self._requests))


def row_names(flow: CustomFlow, requests: Sequence[str]) -> list[str]:
    """What the rows of requests, given by their names in the flow's file, are called."""
    return [row_name for request in flow.requests if request.name in requests for row_name in _row_names(request)]


def _row_names(request: Request) -> list[str]:
    """One; or two of messages, for the last of a payload may go by themselves."""
    if request.api is not None:
        return [f"{request.api.method} {request.name or _readable(request.api.path.partition('?')[0])}"]
    if request.invoke is not None:
        label = Invocation(request.invoke.invocation_type).label
        return [f"Invoke {request.name or _readable(request.invoke.function)}{label}"]
    service = SENDERS[SERVICES[request.kind]]
    behind = request.name or f"to {service.label}"
    return [f"{operation} {behind}" for operation in dict.fromkeys((service.single.operation, service.batch.operation))]


def _check(request: Request, where: str) -> Check:
    """What is asked of the answer, in the order of the documentation."""
    checks: list[Check] = []
    if request.kind == "api":
        checks.append(status_in(*request.status) if request.status else success_status)
    for key, make in (
        ("has", lambda: [has(path) for path in request.has]),
        ("equals", lambda: [equals(path, value) for path, value in request.equals.items()]),
        ("matches", lambda: [matches(path, pattern) for path, pattern in request.matches.items()]),
    ):
        try:
            checks += make()
        except ValueError as unsound:
            raise ValueError(f"{where}.{key}: {unsound}") from None
    if request.no_error_member:
        checks.append(no_error_member)
    return checks[0] if len(checks) == 1 else all_of(*checks)


def _message_destination(request: Request) -> tuple[str, str]:
    """Where messages go, and the key that says so."""
    if request.queue is not None:
        return request.queue.url, "url"
    if request.topic is not None:
        return request.topic.arn, "arn"
    to = request.bus or request.stream
    assert to is not None
    return to.name, "name"


def _header(value: str, name: str, where: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise RenderError(
            f"{where}.api.headers.{name}: it has characters that no header may have, such as a line break"
        )
    return value


def _readable(written: str) -> str:
    """`/orders/{{ row.id }}` -> `/orders/{row.id}`: the same for every request."""
    return _EXPRESSION.sub(r"{\1}", written)
