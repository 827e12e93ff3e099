"""Votes by direct Invoke of the function behind `POST /vote` (VOTE_FUNCTION).

VOTE_FUNCTION=swarmscope-place-vote locust -f locustfiles/direct.py --headless -u 10 -t 1m

`--invocation-type Event` queues the votes, `DryRun` only checks that they could be invoked; `--qualifier` asks for a
version or an alias, `--log-type Tail` for the log's end with each answer.
"""

from locust import events, task

from loadgen import payloads
from loadgen.checks import all_of, no_error_member, proxy_status_200
from loadgen.listeners import register
from loadgen.users import LambdaUser

register(events)

placed = all_of(proxy_status_200, no_error_member)


class DirectUser(LambdaUser):
    flow = "direct"

    @task
    def vote(self) -> None:
        plan = self.sending.plan
        self.invoke(
            plan.functions["place-vote"],
            payloads.vote(self.random),
            name=f"Invoke place-vote{plan.invocation.label}",
            check=placed,
            how=plan.invocation,
        )
