"""The vote POST by Swarmscope, recorded; the status is checked, as by the others, and not the body."""

from locust import events, task

from loadgen import payloads
from loadgen.listeners import register
from loadgen.users import ApiGatewayUser

register(events)


class Voter(ApiGatewayUser):
    flow = "vote"

    @task
    def vote(self) -> None:
        self.post("/vote", payloads.vote(self.random))
