"""Users of Locust's FastHttpUser that have sent one vote and now wait, each with its connection open."""

from locust import FastHttpUser, task


class IdleUser(FastHttpUser):
    @task
    def vote(self) -> None:
        self.client.post("/vote", json={"vote_id": "poll-1", "token": "0", "vote_choice": "red"})

    def wait_time(self) -> float:
        return 3600.0
