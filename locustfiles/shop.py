"""Encrypted sales through API Gateway: `POST /shop`, sealed here under the shop's public key (SHOP_PUBLIC_KEY).

locust -f locustfiles/shop.py -H https://<api>/<stage> --headless -u 5 -t 1m
"""

from locust import events, task
from locust.env import Environment
from locust.exception import StopTest

from loadgen import payloads
from loadgen.checks import all_of, has, no_error_member, success_status
from loadgen.listeners import register
from loadgen.users import ApiGatewayUser

register(events)

accepted = all_of(success_status, has("$.message_id"), no_error_member)


class ShopUser(ApiGatewayUser):
    flow = "shop"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        plan = self.sending.plan
        if plan.shop_public_key is None:
            raise StopTest("SHOP_PUBLIC_KEY is not set")
        self._seal = payloads.Seal(plan.shop_public_key)
        self._shop_id = plan.shop_id

    @task
    def sell(self) -> None:
        shop_id = self._shop_id or f"shop-{self.random.randrange(payloads.SHOPS)}"
        self.post("/shop", self._seal.message(shop_id), check=accepted)
