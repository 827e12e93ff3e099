"""Requests to an API, functions, queues, topics, buses and streams of your own, as a TOML file says (`--custom-flow`).

CUSTOM_FLOW=examples/custom/flow.toml locust -f locustfiles/custom.py -H https://<api>/<stage> --headless -u 10 -t 1m

docs/custom-flow.md explains the file.
"""

from locust import events, task

from loadgen.custom_user import CustomUser
from loadgen.listeners import register

register(events)


class CustomFlowUser(CustomUser):
    @task
    def send(self) -> None:
        self.send_next()
