"""Votes through API Gateway: `POST /vote`, and for a share of the requests (`--results-share`) `GET /vote/{vote_id}`.

locust -f locustfiles/vote.py -H https://<api>/<stage> --headless -u 50 -r 10 -t 1m
"""

from locust import events, task

from loadgen import payloads
from loadgen.checks import all_of, has, no_error_member, success_status
from loadgen.listeners import register
from loadgen.transport import Response
from loadgen.users import ApiGatewayUser

register(events)


placed = all_of(success_status, has("$.sequence_number"), no_error_member)


def tally_or_none(response: Response) -> str:
    """404 is an answer too: nobody has voted there yet."""
    return "" if response.status == 404 else success_status(response)


class VoteUser(ApiGatewayUser):
    flow = "vote"

    @task
    def vote(self) -> None:
        results_share = self.sending.plan.results_share
        if results_share and self.random.random() < results_share:
            vote_id = self.random.choice(payloads.VOTE_IDS)
            self.get(f"/vote/{vote_id}", name="GET /vote/{vote_id}", check=tally_or_none)
        else:
            self.post("/vote", payloads.vote(self.random), check=placed)
