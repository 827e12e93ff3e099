"""Votes by direct Invoke of the function behind `POST /vote` (VOTE_FUNCTION).

VOTE_FUNCTION=swarmscope-place-vote locust -f locustfiles/direct.py --headless -u 10 -t 1m

`--invocation-type Event` queues the votes, `DryRun` only checks that they could be invoked; `--qualifier` asks for a
version or an alias, `--log-type Tail` for the log's end with each answer. `--qualifier blue,green` asks for both in
turns: `python -m analysis compare --by version` then says whether one of them is worse.
"""

from itertools import cycle

from locust import events, task
from locust.env import Environment

from loadgen import payloads
from loadgen.checks import all_of, no_error_member, proxy_status_200
from loadgen.listeners import register
from loadgen.users import LambdaUser

register(events)

placed = all_of(proxy_status_200, no_error_member)


class DirectUser(LambdaUser):
    flow = "direct"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        turns = self.sending.plan.invocation.turns
        first = self.random.randrange(len(turns))  # users that begin together should not all begin with the same one
        self.turns = cycle((*turns[first:], *turns[:first]))

    @task
    def vote(self) -> None:
        how = next(self.turns)
        self.invoke(
            self.sending.plan.functions["place-vote"],
            payloads.vote(self.random),
            name=f"Invoke place-vote{how.label}",
            check=placed,
            how=how,
        )
