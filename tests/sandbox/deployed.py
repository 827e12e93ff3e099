"""The whole sandbox in virtual time, with the sample applications deployed on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control.cloud import Cloud
from control.packages import package
from control.stack import carry_out, make_plan
from sandbox.api_requests import ApiRequest
from sandbox.assembly import Sandbox
from sandbox.clock import VirtualScheduler
from sandbox.model.parameters import parse_parameters
from tests.sandbox.boto3_in_process import REGION, boto3_client
from tests.sandbox.lab import START

STACK = Path(__file__).parents[2] / "stack"


class Deployed:
    """A sandbox with the sample applications on it."""

    def __init__(self, seed: int = 1, model: Mapping[str, Any] | None = None, **parameters: str) -> None:
        self.clock = VirtualScheduler(START)
        self.sandbox = Sandbox(self.clock, parse_parameters(model or {}), seed)
        clients = {name: self.client(name) for name in ("cloudformation", "s3", "sts")}
        cloud = Cloud(**clients, region=REGION, sleep=lambda seconds: None)
        template = (STACK / "template.yaml").read_text()
        packages = [package(STACK / name) for name in ("vote", "shop", "events")]
        plan = make_plan(cloud, "swarmscope", template, packages, parameters)
        self.outputs = carry_out(cloud, plan, template, packages, lambda line: None)

    def client(self, service: str) -> Any:
        return boto3_client(self.sandbox.bridge.handle, service)

    def post(self, path: str, body: Any, on_done: Any) -> None:
        stage = self.sandbox.gateway.stage(None, "prod")
        assert stage is not None
        request = ApiRequest("POST", path, b"", [(b"host", b"sandbox")], json.dumps(body).encode(), "127.0.0.1", path)
        self.sandbox.gateway.handle(stage, request, on_done)

    def function(self, name: str) -> Any:
        return self.sandbox.truth.function(name)
