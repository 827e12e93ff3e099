"""The vote POST by Locust's FastHttpUser, which records nothing."""

import random

from locust import FastHttpUser, task

CHOICES = ("red", "green", "blue", "yellow")


class Voter(FastHttpUser):
    @task
    def vote(self) -> None:
        self.client.post(
            "/vote",
            json={
                "vote_id": f"poll-{random.randrange(10) + 1}",
                "token": f"{random.getrandbits(64):016x}",
                "vote_choice": random.choice(CHOICES),
            },
        )
