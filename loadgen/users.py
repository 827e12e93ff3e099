"""Locust users that send through the lean transport, carry ids, and leave a row for every request.

Locust's statistics, CSVs and web UI, and anybody's listeners of `events.request`, see these requests like any other
(`request_events`).

    class VoteUser(ApiGatewayUser):
        flow = "vote"

        @task
        def vote(self):
            self.post("/vote", {"vote_id": "1", "token": "a", "vote_choice": "red"})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from time import perf_counter, time
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

import gevent
import orjson
from gevent import GreenletExit
from locust import User
from locust.env import Environment
from locust.exception import StopTest, StopUser
from locust.user.task import LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING

from loadgen.api_access import key_line
from loadgen.checks import ACCEPTED_STATUS, Check, invoke_failure, success_status, under
from loadgen.identity import Identity
from loadgen.invocation import AS_IS, Invocation, reported
from loadgen.pacing import Pacer
from loadgen.publishing import SERVICES, EventKind, Message
from loadgen.publishing import Call as PublishCall
from loadgen.recording import EndedRequest
from loadgen.sending import sending_of
from loadgen.signing import Signer
from loadgen.tasks import UserTasks
from loadgen.transport import Connection, Response, TransportError, parse_endpoint
from runstore.columns import UNFINISHED

_USER_AGENT = "swarmscope"


class _Call(NamedTuple):
    """What is known of a request before it is sent."""

    method: str
    name: str
    identity: Identity
    correlation_id: str
    """Empty where the payload carries none."""
    body_bytes: int
    sharing: int = 1
    """Requests that one call carries, and one answer answers."""


class _Batch:
    """The messages of one call: each is a request of its own, answered together with the others."""

    def __init__(self, calls: list[_Call]) -> None:
        self.calls = calls
        self._failures: list[str] | None = None

    def judge(self, call: PublishCall, response: Response) -> str:
        """The first reason for which a message was refused, empty where all were taken."""
        self._failures = call.failures(response, len(self.calls))
        return next(filter(None, self._failures), "")

    def outcomes(self, error: str, check_error: str) -> list[tuple[_Call, str]]:
        """Each message with its own failure, or with `error` where there is no answer that was judged.

        `check_error`: why none of them may pass that the service has taken; empty where they may.
        """
        if self._failures is None:
            return [(call, error) for call in self.calls]
        return [(call, refused or check_error) for call, refused in zip(self.calls, self._failures, strict=True)]


class RecordedUser(User):
    """What all transports have in common: one request at a time, timed, judged, recorded."""

    abstract = True

    flow: ClassVar[str] = ""
    """Name of the flow in profiles, rows and reports."""

    correlation_key: str | None = "correlation_id"
    """Key of the JSON payload that the correlation id goes under; None leaves it out."""

    lambda_id_header: ClassVar[str]
    """Header of the answer, in lower case, that holds the Lambda request id."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.sending = sending_of(environment)
        self.random = self.sending.random
        self.let_others_run = False
        """Whether the event loop has had its turn since the last wait; see `UserTasks`."""
        self._server_clock = self.sending.server_clock
        self._events = self.sending.request_events
        pacing_s = self.sending.plan.profile.pacing_s
        self._pacer = None if pacing_s is None else Pacer(pacing_s)
        self._think_time_s = self.sending.plan.profile.think_time_s
        response_limit_s = self.sending.plan.profile.response_limit_s
        self.in_time: Check | None = None if response_limit_s is None else under(response_limit_s)
        """What every request must pass beside its own check."""
        self.due: float | None = None
        """When the next request is due, by perf_counter, where that is not the pacer's business: since a while, or in a
        fraction of a millisecond, for which it is held back."""

    def run(self) -> None:  # type: ignore[misc] # what Locust marks as final for users that send by themselves
        """As Locust's; in the open model its users only stand for a share of the arrival rate."""
        open_model = self.sending.open_model
        if open_model is None:
            super().run()
        else:
            open_model.hold_token(type(self))

    def on_start(self) -> None:
        """Start somewhere within the first interval, so that users spawned together do not march in step."""
        self._taskset_instance = UserTasks(self)
        pacing_s = self.sending.plan.profile.pacing_s
        if self._pacer is not None and pacing_s is not None:
            delay_s = self.random.random() * pacing_s
            self._pacer.schedule_first(perf_counter() + delay_s)
            gevent.sleep(delay_s)

    def stop(self, force: bool = False) -> bool:
        """As Locust's, without its race: a waiting user is killed, but its wait may end before the kill reaches it.

        Marked first, it then leaves by itself instead of being killed in the middle of one more request.
        """
        if not force and self._state == LOCUST_STATE_WAITING:
            self._state = LOCUST_STATE_STOPPING
            self.group.killone(self.greenlet)
            return True
        return bool(super().stop(force))

    def share_schedule(self, user: RecordedUser) -> None:
        """Be a part of another user: keep its pace."""
        self._pacer = user._pacer

    def wait_time(self) -> float:
        """Seconds between two tasks, as the profile says: pacing, think time, or none."""
        if self._pacer is not None:
            return self._pacer.wait_s(perf_counter())
        if self._think_time_s is not None:
            return self.random.uniform(*self._think_time_s)
        return 0.0

    def _identify(self) -> Identity:
        """Ids for the next request. Raises StopUser where the run has sent all its messages."""
        if not self.sending.may_send():
            raise StopUser
        return self.sending.identities.next(time())

    def _exchange(self, connection: Connection, request: bytes, call: _Call | _Batch, check: Check) -> Response | None:
        """Send a request and record what came of it; None where no answer came."""
        response: Response | None = None
        error = check_error = ""
        scheduled_at = elapsed_s = None
        due, self.due = self.due, None
        while due is not None and perf_counter() < due:
            pass  # Only the clock is looked at: to let others run could take longer than what is left.
        live = self.sending.log.live
        live.in_flight[self.flow] += 1
        started_at, started = time(), perf_counter()
        if self._pacer is not None:
            due = self._pacer.started(started)
        if due is not None:
            scheduled_at = started_at - (started - due)
        try:
            response = connection.exchange(request)
            elapsed_s = perf_counter() - started
            self.let_others_run = True
            response.elapsed_ms = elapsed_s * 1000.0
            self._server_clock.saw(response.headers, started_at, started_at + elapsed_s)
            error = check(response)
            if self.in_time is not None:
                check_error = self.in_time(response)
        except TransportError as failure:
            error = str(failure)
        except GreenletExit:
            # Stopped at the deadline of the drain: the server may well have taken this request.
            error = UNFINISHED
            raise
        except BaseException as mistake:
            # In a check, most likely. The request was sent all the same.
            error = f"{type(mistake).__name__} in the load generator"
            raise
        finally:
            live.in_flight[self.flow] -= 1
            if elapsed_s is None:
                elapsed_s = perf_counter() - started
            elapsed_ms = elapsed_s * 1000.0
            if isinstance(call, _Batch):
                for each, refused in call.outcomes(error, check_error):
                    self._record(each, response, refused, scheduled_at, started_at, elapsed_ms)
            else:
                self._record(call, response, error or check_error, scheduled_at, started_at, elapsed_ms)
        return response

    def _record(
        self,
        call: _Call,
        response: Response | None,
        error: str,
        scheduled_at: float | None,
        started_at: float,
        elapsed_ms: float,
    ) -> None:
        if response is not None:
            headers, status = response.headers, response.status
            received = len(response.body) // call.sharing
        else:
            headers, status, received = _NO_HEADERS, None, 0
        trace = headers.get("x-amzn-trace-id")
        lambda_request_id, init_ms = ("", None) if response is None else self._invocation(response)
        self.sending.log.add(
            EndedRequest(
                scheduled_at,
                started_at,
                None if status is None else elapsed_ms,
                self.flow,
                call.name,
                call.method,
                status,
                error,
                headers.get("x-amz-function-error", ""),
                headers.get("x-amzn-requestid", call.identity.request_id),
                lambda_request_id,
                (trace and _trace_root(trace)) or call.identity.trace_id,
                call.correlation_id,
                headers.get("x-amz-executed-version", ""),
                call.body_bytes,
                received,
                init_ms,
            )
        )
        self._events.ended(self, call.method, call.name, elapsed_ms, received, response, error, started_at)
        self.sending.answered()

    def _invocation(self, response: Response) -> tuple[str, float | None]:
        """Id and init (`invocation.Reported`) of the invocation that answered; an empty id where it is not named."""
        return response.headers.get(self.lambda_id_header, ""), None

    def _payload(self, payload: Mapping[str, Any], identity: Identity) -> bytes:
        key = self.correlation_key
        return orjson.dumps(payload if key is None else {**payload, key: identity.correlation_id})


class ApiGatewayUser(RecordedUser):
    """Calls an API; `host` is its base URL, with the stage."""

    abstract = True
    lambda_id_header = "x-lambda-request-id"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        if self.host is None:
            raise StopTest("no base URL: give -H or API_BASE_URL")
        endpoint = parse_endpoint(self.host)
        self._connection = self.sending.connection(endpoint)
        self._base_path = endpoint.base_path
        self._headers = (
            f"Host: {endpoint.authority}\r\nUser-Agent: {_USER_AGENT}\r\nAccept: application/json\r\n"
            f"{key_line(self.sending.settings)}"
        )
        self._authorize = self.sending.authorize(endpoint)

    def on_stop(self) -> None:
        self._connection.close()

    def get(self, path: str, *, name: str | None = None, check: Check | None = None) -> Response | None:
        """GET `path`; see `request`."""
        return self.request("GET", path, name=name, check=check)

    def post(
        self, path: str, payload: Mapping[str, Any], *, name: str | None = None, check: Check | None = None
    ) -> Response | None:
        """POST `payload` as JSON, with the correlation id beside it; see `request`."""
        return self.request("POST", path, payload, name=name, check=check)

    def request(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        check: Check | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response | None:
        """Send one request; None where no answer came.

        `headers` go out beside its own; their values are printable ASCII. `path` is percent-encoded already. `name`
        stands for the request in statistics (default: method and path).
        `check` decides what is a failure (default: every status but 2xx).
        """
        if not (path.isascii() and path.isprintable()) or " " in path:
            raise ValueError(f"path {path!r} must be percent-encoded")
        identity = self._identify()
        body = b"" if payload is None else self._payload(payload, identity)
        content = "" if payload is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        target = self._base_path + path
        if self._authorize is not None:
            content += self._authorize(method, target, _NO_HEADERS if payload is None else _JSON, body)
        if headers:
            content += _header_lines(headers)
        head = (
            f"{method} {target} HTTP/1.1\r\n{self._headers}{content}"
            f"x-amzn-RequestId: {identity.request_id}\r\n"
            f"X-Amzn-Trace-Id: Root={identity.trace_id};Sampled={identity.sampled}\r\n\r\n"
        )
        return self._exchange(
            self._connection,
            head.encode() + body,
            _Call(
                method,
                name or f"{method} {path}",
                identity,
                "" if payload is None or self.correlation_key is None else identity.correlation_id,
                len(body),
            ),
            check or success_status,
        )


class LambdaUser(RecordedUser):
    """Invokes functions through the Lambda API."""

    abstract = True
    lambda_id_header = "x-amzn-requestid"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        endpoint = parse_endpoint(self.sending.plan.endpoints["lambda"])
        self._connection = self.sending.connection(endpoint)
        self._signer = self.sending.signer("lambda")
        self._base_path = endpoint.base_path
        self._url = f"{endpoint.scheme}://{endpoint.authority}"
        self._headers = f"Host: {endpoint.authority}\r\nUser-Agent: {_USER_AGENT}\r\n"

    def on_stop(self) -> None:
        self._connection.close()

    def invoke(
        self,
        function: str,
        payload: Mapping[str, Any],
        *,
        name: str,
        check: Check | None = None,
        how: Invocation = AS_IS,
    ) -> Response | None:
        """Invoke a function, by name or ARN, with `payload` and the correlation id beside it.

        None where no answer came.
        Success is the status of the invocation type, no FunctionError, and nothing that `check` finds in the answer.
        Only a RequestResponse has an answer of the function: `check` is not asked about any other.
        """
        identity = self._identify()
        body = self._payload(payload, identity)
        path = self._base_path + _invocations_path(function, how.query)
        signature = self._signer.lines("POST", self._url + path, how.headers, body)
        accepted_status = ACCEPTED_STATUS[how.invocation_type]
        if how.invocation_type != "RequestResponse":
            check = None
        head = (
            f"POST {path} HTTP/1.1\r\n{self._headers}{how.header_lines}{signature}"
            f"Content-Length: {len(body)}\r\nx-amzn-RequestId: {identity.request_id}\r\n"
            f"X-Amzn-Trace-Id: Root={identity.trace_id};Sampled={identity.sampled}\r\n\r\n"
        )
        return self._exchange(
            self._connection,
            head.encode() + body,
            _Call(
                method="Invoke",
                name=name,
                identity=identity,
                correlation_id="" if self.correlation_key is None else identity.correlation_id,
                body_bytes=len(body),
            ),
            lambda response: invoke_failure(response, accepted_status) or (check(response) if check else ""),
        )

    def _invocation(self, response: Response) -> tuple[str, float | None]:
        """From the REPORT line of the log's tail where it was asked for, else the answer's own id.

        A call that was refused, or only checked (204), invoked nothing.
        """
        if response.status not in (200, 202):
            return "", None
        tail = response.headers.get("x-amz-log-result")
        return (tail and reported(tail)) or super()._invocation(response)


class EventUser(RecordedUser):
    """Sends messages to SQS, SNS, EventBridge and Kinesis.

    There is a row and a Locust request for each message, not for each call: that is what can fail by itself and what
    is followed by its correlation id. Messages of one call share its request id and its time.
    """

    abstract = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        plan, self._routes = self.sending.plan, {}
        for service in self.services():
            endpoint = parse_endpoint(plan.endpoints[service])
            self._routes[service] = _Route(
                self.sending.connection(endpoint),
                self.sending.signer(service),
                f"{endpoint.scheme}://{endpoint.authority}{endpoint.base_path}/",
                f"POST {endpoint.base_path}/ HTTP/1.1\r\nHost: {endpoint.authority}\r\nUser-Agent: {_USER_AGENT}\r\n",
            )

    def on_stop(self) -> None:
        for route in self._routes.values():
            route.connection.close()

    def services(self) -> Iterable[str]:
        """The services that it sends to, by their endpoints' names."""
        return self.sending.plan.event_destinations

    def publish(
        self,
        service: str,
        destination: str,
        payloads: Sequence[Mapping[str, Any]],
        *,
        name: str = "",
        kind_of_event: EventKind | None = None,
    ) -> Response | None:
        """Send messages in one call, at most as many as the service takes; None where no answer came.

        `service`: `sqs`, `sns`, `events` or `kinesis`; `destination`: queue URL, topic ARN, bus, stream. A message is
        its payload as JSON, with correlation id and run id beside it. `name` stands for the messages in statistics,
        behind their operation (default: `SendMessage to SQS` and the like). `kind_of_event` is for EventBridge. Where
        the run has fewer messages left than given, those are sent.
        """
        run_id, of_service, route = self.sending.plan.run_id, SERVICES[service], self._routes[service]
        identities = [self._identify()]
        while len(identities) < len(payloads) and self.sending.may_send():
            identities.append(self.sending.identities.next(time()))
        messages = [
            Message(
                self._payload({**payload, "run_id": run_id}, identity).decode(),
                run_id,
                identity.correlation_id,
                kind_of_event or EventKind(),
            )
            for payload, identity in zip(payloads, identities, strict=False)
        ]
        call = of_service.call(len(messages))
        name = f"{call.operation} {name or f'to {of_service.label}'}"
        body = call.build(destination, messages)
        lines = _header_lines(call.headers) + route.signer.lines("POST", route.url, call.headers, body)
        first = identities[0]
        head = (
            f"{route.head}{lines}Content-Length: {len(body)}\r\n"
            f"X-Amzn-Trace-Id: Root={first.trace_id};Sampled={first.sampled}\r\n\r\n"
        )
        batch = _Batch(
            [
                _Call(
                    method=call.operation,
                    name=name,
                    identity=identity,
                    correlation_id="" if self.correlation_key is None else identity.correlation_id,
                    body_bytes=len(message.body.encode()),
                    sharing=len(messages),
                )
                for identity, message in zip(identities, messages, strict=True)
            ]
        )
        return self._exchange(route.connection, head.encode() + body, batch, lambda answer: batch.judge(call, answer))

    def _invocation(self, response: Response) -> tuple[str, float | None]:
        """No function answers: the message is still on its way."""
        return "", None


class _Route(NamedTuple):
    """The way to one service."""

    connection: Connection
    signer: Signer
    url: str
    head: str


@lru_cache(maxsize=1000)
def _invocations_path(function: str, query: str) -> str:
    """Where a function is invoked (AWS documentation, "Invoke")."""
    return f"/2015-03-31/functions/{quote(function, safe='')}/invocations{query}"


def _header_lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def _trace_root(header: str) -> str:
    """`Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1` -> the Root, empty where there is none."""
    start = header.find("Root=")
    return "" if start < 0 else header[start + 5 :].partition(";")[0]


_NO_HEADERS: dict[str, str] = {}
_JSON = {"Content-Type": "application/json"}
