"""The sample functions in a sandbox in virtual time, tuned by the same code as on AWS: no socket, no server."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import orjson
from botocore.exceptions import ClientError

from config.prices import load_prices
from control.stack_outputs import FUNCTION_OUTPUTS
from control.temporary_versions.journal import Journal
from control.temporary_versions.place import Place
from control.tuning.measuring import Invocation, Invoker
from control.tuning.payloads import Payload, sample_payloads
from control.tuning.result import Result
from control.tuning.schedule import Call
from control.tuning.session import Edge, Plan, measure_versions, tune
from control.tuning.versions import TunedVersion, TunedVersions
from sandbox.faults import parse_faults
from tests.sandbox.boto3_in_process import REGION, answered_by, boto3_client, zipped
from tests.sandbox.deployed import Deployed

PLACE = Place("sandbox", True, REGION, None, True, load_prices(REGION))


class InvokeClient:
    """`invoke` of boto3's Lambda client, answered in virtual time."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed

    def invoke(self, *, FunctionName: str, Qualifier: str, LogType: str, Payload: bytes) -> dict[str, Any]:
        answers: list[Any] = []
        headers = {"x-amz-log-type": LogType, "host": f"lambda.{REGION}.amazonaws.com"}
        api, clock = self._deployed.sandbox.invoke_api, self._deployed.clock
        api.handle(FunctionName, f"Qualifier={Qualifier}", headers, Payload, answers.append)
        while not answers:
            clock.run_until(clock.now() + 0.05)
        status, answered, body = answers[0]
        shown = {name.decode(): value.decode() for name, value in answered}
        metadata = {"RequestId": shown["x-amzn-requestid"], "HTTPStatusCode": status}
        if status >= 300:
            error = {"Code": shown.get("x-amzn-errortype", ""), "Message": body.decode()}
            raise ClientError({"Error": error, "ResponseMetadata": metadata}, "Invoke")  # type: ignore[typeddict-item]
        answer: dict[str, Any] = {"Payload": io.BytesIO(body), "ResponseMetadata": metadata}
        for key, header in (("FunctionError", "x-amz-function-error"), ("LogResult", "x-amz-log-result")):
            if header in shown:
                answer[key] = shown[header]
        return answer


class TuningLab:
    """A deployed sandbox whose functions can be tuned."""

    def __init__(self, seed: int = 1, model: Mapping[str, Any] | None = None) -> None:
        self.deployed = Deployed(seed, model)
        self.clock = self.deployed.clock
        self.client = self.deployed.client("lambda")
        self.invoke_client = InvokeClient(self.deployed)
        sandbox = self.deployed.sandbox
        kms = boto3_client(answered_by(sandbox.kms.handle, otherwise=sandbox.bridge.handle), "kms")
        key = kms.get_public_key(KeyId=self.deployed.outputs["ShopKeyId"])["PublicKey"]
        self.public_key = base64.b64encode(key).decode()
        for topic in ("sales", "decrypted-sales"):  # what a tuned function publishes shall lead to nothing
            self.fault(kind="drop", topic=topic, rate=1.0)

    def reseed(self, seed: int) -> None:
        """Functions begin anew, with other random numbers."""
        self.deployed.sandbox.functions._seed = seed
        self.deployed.sandbox.functions.reset()

    def empty_code(self, logical: str, handler: str) -> None:
        """Let a function do nothing: that takes as long, for how long it takes is the model's business alone."""
        code = zipped(handler=f"def {handler}(event, context):\n    pass\n")
        self.client.update_function_code(FunctionName=self.name(logical), ZipFile=code)
        self._sleep(1)

    def fault(self, **fault: Any) -> None:
        self.deployed.sandbox.faults.add(parse_faults(orjson.dumps(fault)))

    def name(self, logical: str) -> str:
        return self.deployed.outputs[FUNCTION_OUTPUTS[logical]].rpartition(":")[2]

    def payloads(self, logical: str) -> list[Payload]:
        made = sample_payloads(logical, Random(1), self.public_key)
        assert made is not None
        return made

    def versions(self, logical: str, client: Any = None) -> TunedVersions:
        return TunedVersions(
            client or self.client, self.name(logical), clock=self.clock.now, sleep=self._sleep, poll_s=0.05
        )

    def tune(
        self,
        logical: str,
        directory: Path,
        *,
        client: Any = None,
        invoke_client: Any = None,
        say: Callable[[str], None] = lambda line: None,
        **plan: Any,
    ) -> Result:
        directory.mkdir(parents=True)
        return tune(
            self._plan(logical, plan),
            PLACE,
            self.versions(logical, client),
            invoke_client or self.invoke_client,
            directory,
            Edge(self.clock.now, self._sleep, say),
            store=lambda result: None,
        )

    def publish(self, logical: str, directory: Path, memory_mb: Sequence[int]) -> list[TunedVersion]:
        """Versions to be measured, as a run makes them."""
        function = self.versions(logical)
        found = PLACE.found(directory.name, function, function.configuration())
        (directory / logical).mkdir()
        return function.publish(memory_mb, Journal.create(directory / logical, found))

    def measure(
        self,
        logical: str,
        published: Sequence[TunedVersion],
        directory: Path,
        taken: list[Invocation] | None = None,
        **plan: Any,
    ) -> Result:
        """What a run does between publishing and taking back; `taken` gets its invocations."""
        edge = Edge(self.clock.now, self._sleep, lambda line: None)
        plan = {"memory_mb": tuple(one.memory_mb for one in published)} | plan
        before = self.versions(logical).configuration()
        whole = self._plan(logical, plan)
        aliases = {one.memory_mb: one.alias for one in published}
        invoker = Invoker(self.invoke_client, self.name(logical), aliases, whole.payloads, self.clock.now)

        def invoke(call: Call) -> Invocation:
            done = invoker(call)
            if taken is not None:
                taken.append(done)
            return done

        return measure_versions(whole, PLACE, before, invoke, directory, edge)

    def _plan(self, logical: str, plan: Mapping[str, Any]) -> Plan:
        return Plan(**{"memory_mb": (128, 512), "rounds": 12, "payloads": self.payloads(logical), **plan})

    def state(self, logical: str) -> dict[str, Any]:
        """What a tuning run must leave as it was."""
        name = self.name(logical)
        listed = self.client.list_versions_by_function(FunctionName=name)["Versions"]
        aliases = self.client.list_aliases(FunctionName=name)["Aliases"]
        return {
            "versions": {one["Version"]: (one["MemorySize"], one["Description"]) for one in listed},
            "aliases": {one["Name"]: one["FunctionVersion"] for one in aliases},
        }

    def _sleep(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now() + seconds)
