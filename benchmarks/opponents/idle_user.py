"""Users that have sent one vote and now wait, each with its connection open: what one of them weighs."""

from locust import events, task

from loadgen import payloads
from loadgen.listeners import register
from loadgen.users import ApiGatewayUser

register(events)


class IdleUser(ApiGatewayUser):
    flow = "vote"

    @task
    def vote(self) -> None:
        self.post("/vote", payloads.vote(self.random))

    def wait_time(self) -> float:
        return 3600.0
