"""The direct invoke by boto3, one client for each user, as locustfiles found in the wild do."""

import json
import os
import random
from time import perf_counter

import boto3
from botocore.config import Config
from locust import User, task
from locust.env import Environment

CHOICES = ("red", "green", "blue", "yellow")


class Invoker(User):
    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.lambda_client = boto3.client(
            "lambda",
            endpoint_url=os.environ["ENDPOINT"],
            region_name="eu-west-1",
            aws_access_key_id="benchmark",
            aws_secret_access_key="benchmark",
            config=Config(retries={"max_attempts": 0}),
        )

    @task
    def vote(self) -> None:
        payload = {
            "vote_id": f"poll-{random.randrange(10) + 1}",
            "token": f"{random.getrandbits(64):016x}",
            "vote_choice": random.choice(CHOICES),
        }
        started, exception, length = perf_counter(), None, 0
        try:
            answer = self.lambda_client.invoke(FunctionName="place-vote", Payload=json.dumps(payload))
            length = len(answer["Payload"].read())
        except Exception as failure:  # noqa: BLE001 -- whatever it is, Locust counts it
            exception = failure
        self.environment.events.request.fire(
            request_type="Invoke",
            name="place-vote",
            response_time=(perf_counter() - started) * 1000,
            response_length=length,
            exception=exception,
        )
