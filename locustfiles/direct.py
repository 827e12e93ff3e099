"""Votes by direct, synchronous Invoke of the function behind `POST /vote` (VOTE_FUNCTION).

VOTE_FUNCTION=swarmscope-place-vote locust -f locustfiles/direct.py --headless -u 10 -t 1m
"""

from locust import events, task

from loadgen import payloads
from loadgen.checks import proxy_status_200
from loadgen.listeners import register
from loadgen.users import LambdaUser

register(events)


class DirectUser(LambdaUser):
    flow = "direct"

    @task
    def vote(self) -> None:
        self.invoke(
            self.sending.plan.functions["place-vote"],
            payloads.vote(self.random),
            name="Invoke place-vote",
            check=proxy_status_200,
        )
