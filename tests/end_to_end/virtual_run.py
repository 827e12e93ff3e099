"""A run without processes: a client in virtual time, and the real analysis of what it wrote and what was logged.

The client asks the parts of a sandbox directly, and writes rows as the load generator does, with its checks and the
words of its transport; the logs are pulled through the sandbox's own Logs Insights by the analysis' own code.
"""

from __future__ import annotations

import csv
import json
import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson

from analysis import pull
from analysis.pipeline import explain
from analysis.puller import Patience
from config.settings import settings_from
from control.stack_outputs import EVENT_OUTPUTS, FUNCTION_OUTPUTS
from loadgen.answers import Response
from loadgen.checks import Check, invoke_failure, success_status
from loadgen.identity import IdentitySource
from runstore.columns import REQUEST_COLUMNS
from runstore.rundir import RunDir
from sandbox.api_requests import ApiRequest, ApiResponse
from sandbox.faults import parse_faults
from sandbox.services.errors import AwsError
from tests.sandbox.boto3_in_process import REGION, answered_by, boto3_client
from tests.sandbox.deployed import Deployed
from tests.sandbox.lab import START

MODEL: Mapping[str, Any] = {"logs": {"ingestion_lag_s": 0.0, "insights_latency_s": 0.0}}
"""Logs and queries take no time, for nobody's clock moves while they are read."""
PATIENCE = Patience(lag_s=0.0, quiet_s=1.0, retry_s=1.0, poll_s=1.0, deadline_s=60.0, metrics_s=15.0)


class _SleepingMovesIt:
    """The clock of the analysis, whose threads sleep on it."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._lock = threading.Lock()

    def clock(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


class _AtOnce(Executor):
    """Runs what it is given before it returns: in virtual time nobody waits for a thread."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:  # noqa: BLE001 -- as an executor does
            future.set_exception(error)
        return future


class VirtualRun:
    """One run against a deployed sandbox. Requests are put on its clock, then `finish` lets them happen."""

    def __init__(self, deployed: Deployed, directory: Path, **manifest: Any) -> None:
        self.deployed, self.clock, self.outputs = deployed, deployed.clock, deployed.outputs
        directory.mkdir(parents=True)
        self.run = RunDir(directory)
        self.rows: list[dict[str, Any]] = []
        self._identities = IdentitySource(random.Random(5), 0.0)
        functions = {
            name: self.outputs[output].rpartition(":")[2]
            for name, output in FUNCTION_OUTPUTS.items()
            if output in self.outputs
        }
        self.run.update_manifest(
            **{
                "run_id": directory.name,
                "flows": ["vote"],
                "profile": {"name": "virtual", "chain_limit_s": 60.0, "thresholds": {}},
                "target": "sandbox",
                "simulated": True,
                "region": REGION,
                "stack_name": "swarmscope",
                "functions": functions,
                "log_groups": {name: f"/aws/lambda/{function}" for name, function in functions.items()},
                "access_log_group": self.outputs["AccessLogGroup"],
                "started_at": self.clock.now(),
                "state": "complete",
            }
            | manifest
        )

    def request(
        self,
        at: float,
        flow: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        name: str | None = None,
        check: Check = success_status,
        limit_s: float | None = None,
    ) -> dict[str, Any]:
        """A request to the API, `at` seconds after the start; the row that will stand for it. With `limit_s` the client
        gives up by itself."""
        row = self._row(at, flow, name or f"{method} {path}", method, (body or {}).get("correlation_id", ""))

        def send() -> None:
            stage = self.deployed.sandbox.gateway.stage(None, "prod")
            assert stage is not None
            headers = [(b"host", b"sandbox"), (b"x-amzn-requestid", row["request_id"].encode())]
            headers.append((b"x-amzn-trace-id", f"Root={row['trace_id']};Sampled=0".encode()))
            content = b"" if body is None else json.dumps(body).encode()
            request = ApiRequest(method, path, b"", headers, content, "127.0.0.1", path)
            self.deployed.sandbox.gateway.handle(stage, request, done)

        def done(answer: ApiResponse) -> None:
            if limit_s is not None and self.clock.now() - row["started_at"] > limit_s:
                row.update(response_ms=None, status=None, ok=0, error=f"no whole answer within {limit_s:g} s")
            elif answer.cut:
                row.update(response_ms=None, status=None, ok=0, error="connection closed in the middle of the answer")
            else:
                self._answered(row, answer.status, answer.headers, answer.body, check, "x-lambda-request-id")

        self.clock.at(START + at, send)
        return row

    def invoke(
        self,
        at: float,
        function: str,
        payload: Mapping[str, Any],
        kind: str = "RequestResponse",
        qualifier: str | None = None,
    ) -> dict[str, Any]:
        """A direct Invoke of a function (logical name)."""
        row = self._row(at, "direct", f"Invoke {function}", "Invoke", payload.get("correlation_id", ""))
        physical = self.run.read_manifest()["functions"][function]
        headers = {"x-amz-invocation-type": kind, "x-amzn-requestid": row["request_id"], "host": f"lambda.{REGION}.x"}
        check = partial(invoke_failure, accepted_status=202 if kind == "Event" else 200)

        def done(answer: tuple[int, list[tuple[bytes, bytes]], bytes]) -> None:
            self._answered(row, *answer, check, "x-amzn-requestid")

        api = self.deployed.sandbox.invoke_api
        query = "" if qualifier is None else f"Qualifier={qualifier}"
        self.clock.at(START + at, lambda: api.handle(physical, query, headers, json.dumps(payload).encode(), done))
        return row

    def send(self, at: float, service: str, correlation_id: str, where: str | None = None) -> dict[str, Any]:
        """An order to a queue, topic, bus or stream (`sqs`, `sns`, `events`, `kinesis`); `where` in place of the
        stack's own."""
        method, name = _SENDING[service]
        row = self._row(at, "events", name, method, correlation_id)
        order = json.dumps({"number": 1, "correlation_id": correlation_id})
        sandbox, where = self.deployed.sandbox, where or self.outputs[EVENT_OUTPUTS[service]]

        def send() -> None:
            try:
                put()
            except AwsError as refused:
                phrase = HTTPStatus(refused.status).phrase
                row.update(
                    response_ms=5.0, status=refused.status, error=f"HTTP {refused.status} {phrase}: {refused.code}"
                )
            else:
                row.update(response_ms=5.0, status=200, ok=1)

        def put() -> None:
            if service == "sqs":
                sandbox.sqs.send_message(REGION, {"QueueUrl": where, "MessageBody": order})
            elif service == "sns":
                sandbox.sns.publish(REGION, {"TopicArn": where, "Message": order})
            elif service == "kinesis":
                record = {"StreamName": where, "Data": order.encode(), "PartitionKey": correlation_id}
                sandbox.kinesis.put_record(REGION, record)
            else:
                event = {"Source": "swarmscope.load", "DetailType": "order", "Detail": order, "EventBusName": where}
                sandbox.eventbridge.put_events(REGION, {"Entries": [event]})

        self.clock.at(START + at, send)
        return row

    def fault(self, at: float, **fault: Any) -> None:
        """Put a fault in force, just before what happens at the same time."""
        parsed = parse_faults(orjson.dumps(fault))
        self.clock.at(START + at - 0.001, lambda: self.deployed.sandbox.faults.add(parsed))

    def never_answered(self, at: float, flow: str, error: str) -> dict[str, Any]:
        """A request that failed on the client's side."""
        row = self._row(at, flow, "POST /vote", "POST", "")
        row["error"] = error
        return row

    def finish(self) -> dict[str, Any]:
        """Let everything happen, pull, join, explain; -> the summary."""
        self.clock.run_all()
        ended_at = self.clock.now()
        with self.run.requests_file(0).open("w", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, REQUEST_COLUMNS, extrasaction="ignore", lineterminator="\n")
            rows.writeheader()
            rows.writerows(self.rows)
        self.run.update_manifest(ended_at=ended_at, settled_at=ended_at)
        time = _SleepingMovesIt(ended_at + 60)
        logs_api = self.deployed.sandbox.logs_api
        with (
            patch.object(pull.aws, "client", lambda settings, service, **_: self._client(service, time.clock)),
            patch.object(logs_api, "_executor", _AtOnce()),
        ):
            pull.pull_run(self.run, settings_from({}), patience=PATIENCE, clock=time.clock, sleep=time.sleep)
        return explain(self.run)

    def _client(self, service: str, clock: Callable[[], float]) -> Any:
        sandbox = self.deployed.sandbox
        api = {"logs": sandbox.logs_api, "cloudwatch": sandbox.metrics}.get(service)
        if api is None:
            return boto3_client(sandbox.bridge.handle, service)

        one_at_a_time = threading.Lock()  # the server's loop sees to that

        def handle(action: str, body: bytes, region: str) -> Any:
            with one_at_a_time:
                return api.handle(action, orjson.loads(body), clock())

        return boto3_client(answered_by(handle), service)

    def _row(self, at: float, flow: str, name: str, method: str, correlation_id: str) -> dict[str, Any]:
        identity = self._identities.next(START + at)
        row = {
            "worker": 0,
            "seq": len(self.rows) + 1,
            "started_at": START + at,
            "flow": flow,
            "name": name,
            "method": method,
            "ok": 0,
            "request_id": identity.request_id,
            "trace_id": identity.trace_id,
            "correlation_id": correlation_id,
            "phase": "measure",
        }
        self.rows.append(row)
        return row

    def _answered(
        self,
        row: dict[str, Any],
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        check: Callable[[Response], str],
        id_header: str,
    ) -> None:
        named = {name.decode().lower(): value.decode() for name, value in headers}
        error = check(Response(status, named, body))
        row.update(
            response_ms=round((self.clock.now() - row["started_at"]) * 1000, 3),
            status=status,
            ok=0 if error else 1,
            error=error,
            function_error=named.get("x-amz-function-error", ""),
            request_id=named.get("x-amzn-requestid", row["request_id"]),
            lambda_request_id=named.get(id_header, ""),
            executed_version=named.get("x-amz-executed-version", ""),
        )


_SENDING = {
    "sqs": ("SendMessage", "SendMessage to SQS"),
    "sns": ("Publish", "Publish to SNS"),
    "events": ("PutEvents", "PutEvents to EventBridge"),
    "kinesis": ("PutRecord", "PutRecord to Kinesis"),
}
