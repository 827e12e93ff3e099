"""Orders as messages to a queue, a topic, an event bus and a stream, each where its variable says so.

EVENTS_QUEUE_URL=https://sqs.eu-west-1.amazonaws.com/123456789012/swarmscope-events \
    locust -f locustfiles/events.py --headless -u 10 -t 1m

EVENTS_TOPIC_ARN, EVENTS_BUS and EVENTS_STREAM are the others. A user sends to those that are set, each as often;
`--event-batch 10` sends ten messages in one call. There is a row and a Locust request for each message.
"""

from locust import events, task

from loadgen import payloads
from loadgen.listeners import register
from loadgen.users import EventUser

register(events)


class EventsUser(EventUser):
    flow = "events"

    @task
    def send(self) -> None:
        plan = self.sending.plan
        service, destination = self.random.choice(list(plan.event_destinations.items()))
        orders = [payloads.order(self.random) for _ in range(plan.event_batch)]
        for order in orders:
            # A stream would wait for a record that always fails.
            if plan.poison_share and service != "kinesis" and self.random.random() < plan.poison_share:
                order["poison"] = True
        self.publish(service, destination, orders)
