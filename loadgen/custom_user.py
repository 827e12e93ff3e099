"""The Locust user of flow `custom`: one user, five transports.

It sends through the users of each transport, which are parts of it and none of Locust's: they record, judge and fire
events as ever, and share its schedule.
"""

from __future__ import annotations

import logging

from locust.env import Environment
from locust.exception import StopTest, StopUser

from loadgen.custom_flow import FLOW, Content, CustomRequest
from loadgen.payload_file import PayloadFileError
from loadgen.templates import RenderError
from loadgen.users import ApiGatewayUser, EventUser, LambdaUser, RecordedUser

logger = logging.getLogger(__name__)


class _ApiPart(ApiGatewayUser):
    abstract = True
    flow = FLOW

    def send(self, request: CustomRequest, content: Content) -> None:
        self.request(
            request.method,
            content.destination,
            content.bodies[0],
            name=request.name,
            check=request.check,
            headers=content.headers,
        )


class _InvokePart(LambdaUser):
    abstract = True
    flow = FLOW

    def send(self, request: CustomRequest, content: Content) -> None:
        self.invoke(
            content.destination,
            content.bodies[0] or {},
            name=request.name,
            check=request.check,
            how=request.invocation,
        )


class _MessagePart(EventUser):
    abstract = True
    flow = FLOW

    def services(self) -> list[str]:
        custom = self.sending.custom
        return [] if custom is None else [service for service in custom.flow.services if service != "lambda"]

    def send(self, request: CustomRequest, content: Content) -> None:
        assert request.service is not None
        bodies = [body or {} for body in content.bodies]
        self.publish(
            request.service, content.destination, bodies, name=request.name, kind_of_event=request.kind_of_event
        )


_Part = _ApiPart | _InvokePart | _MessagePart
_PARTS: dict[str, type[_Part]] = {"api": _ApiPart, "invoke": _InvokePart, "messages": _MessagePart}


class CustomUser(RecordedUser):
    """Sends what the flow's file says; a locustfile's class calls `send_next` in its task."""

    abstract = True
    flow = FLOW

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        if self.sending.custom is None:
            raise StopTest("CUSTOM_FLOW: not set, or the run was started without flow custom")
        self._requests = self.sending.custom
        flow = self._requests.flow
        _ApiPart.host = self.host
        self._parts: dict[str, _Part] = {
            transport: _PARTS[transport](environment) for transport in self._requests.transports
        }
        for part in self._parts.values():
            part.correlation_key = flow.correlation_key or None
            part.share_schedule(self)

    def on_stop(self) -> None:
        for part in self._parts.values():
            part.on_stop()

    def send_next(self) -> None:
        """Send one request, by weight. Raises StopUser where all rows have been used.

        One that cannot be written, or whose row cannot be read, is among Locust's exceptions, and is not sent.
        """
        try:
            following = self._requests.next(self.random)
        except (RenderError, PayloadFileError) as unwritten:
            self._count_unwritten(unwritten)
            return
        if following is None:
            raise StopUser
        request, content = following
        part = self._parts[request.transport]
        part.due, self.due = self.due, None
        part.in_time = request.in_time or self.in_time
        try:
            part.send(request, content)
        finally:
            self.let_others_run, part.let_others_run = self.let_others_run or part.let_others_run, False

    def _count_unwritten(self, failure: Exception) -> None:
        """Not raised: of each Locust would log a page, and it may happen with every row."""
        self.environment.events.user_error.fire(user_instance=self, exception=failure, tb=failure.__traceback__)
        if not self._requests.unwritten:
            logger.error(f"Flow custom: a request could not be written: {failure}. Others will be counted, not logged")
        self._requests.unwritten += 1
