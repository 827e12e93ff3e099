"""Votes through API Gateway: `POST /vote`, and for a share of the requests (`--results-share`) `GET /vote/{vote_id}`.

locust -f locustfiles/vote.py -H https://<api>/<stage> --headless -u 50 -r 10 -t 1m
"""

from locust import events, task

from loadgen import payloads
from loadgen.listeners import register
from loadgen.users import ApiGatewayUser

register(events)


class VoteUser(ApiGatewayUser):
    flow = "vote"

    @task
    def vote(self) -> None:
        results_share = self.sending.plan.results_share
        if results_share and self.random.random() < results_share:
            self.get(f"/vote/{self.random.choice(payloads.VOTE_IDS)}", name="GET /vote/{vote_id}")
        else:
            self.post("/vote", payloads.vote(self.random))
