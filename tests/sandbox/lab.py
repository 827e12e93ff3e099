"""A sandbox in virtual time: literal definitions, logs and metrics kept in lists, hand-made clients."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sandbox.api_requests import ApiRequest, ApiResponse
from sandbox.clock import VirtualScheduler
from sandbox.definitions import ApiStage, FunctionDefinition, StreamSource
from sandbox.faults import Faults
from sandbox.functions import LambdaService
from sandbox.gateway import Gateway
from sandbox.invoke_results import InvokeResult
from sandbox.model.parameters import Parameters, parse_parameters
from sandbox.permissions import Permissions
from sandbox.truth import Truth

START = 1_800_000_000.0
ECHO = "def handle(event, context):\n    return event\n"


def zipped(**modules: str) -> bytes:
    """A deployment package: `handler="..."` becomes handler.py."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in modules.items():
            archive.writestr(
                zipfile.ZipInfo(f"{name}.py"), text
            )  # without the time of day: the same code, the same zip
    return packed.getvalue()


def function(name: str = "echo", code: str = ECHO, **changes: Any) -> FunctionDefinition:
    """A function with `code` as handler.py and `handler.handle` as its handler."""
    package = zipped(handler=code)
    definition = FunctionDefinition(
        name=name,
        arn=f"arn:aws:lambda:us-east-1:123456789012:function:{name}",
        version="$LATEST",
        handler="handler.handle",
        memory_mb=128,
        timeout_s=3.0,
        environment={},
        code_sha256=hashlib.sha256(package).hexdigest(),
        code_zip=package,
        log_group=f"/aws/lambda/{name}",
    )
    return replace(definition, **changes)


class LiteralDefinitions:
    """Definitions from what is put into the dictionaries; raise `generation` after a change."""

    def __init__(self) -> None:
        self.generation = 0
        self.functions: dict[str, FunctionDefinition] = {}
        self.stages: dict[str, ApiStage] = {}
        self.stack_name = ""
        self.provisioned: dict[str, int] = {}
        """By function name; of the version that there is."""

    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None:
        return self.functions.get(name)

    def api_stage(self, api_id: str | None, stage: str) -> ApiStage | None:
        found = self.stages.get(stage)
        return found if found is not None and api_id in (None, found.api_id) else None

    def subscribed_functions(self, topic_arn: str) -> Sequence[tuple[str, str]]:
        return ()

    def topic_exists(self, topic_arn: str) -> bool:
        return False

    def shard_count(self, stream_name: str) -> int | None:
        return None

    def stream_sources(self) -> Sequence[StreamSource]:
        return ()

    def logical_name(self, physical_name: str) -> str:
        return physical_name.removeprefix(f"{self.stack_name}-") if self.stack_name else physical_name

    def provisioned_concurrency(self) -> Sequence[tuple[FunctionDefinition, int]]:
        return [(self.functions[name], requested) for name, requested in self.provisioned.items()]

    def reserved_concurrency_total(self) -> int:
        return sum(function.reserved_concurrency or 0 for function in self.functions.values())


class Logs:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, float, str]] = []

    def append(self, group: str, stream: str, timestamp: float, message: str) -> None:
        self.events.append((group, stream, timestamp, message))

    def messages(self, group: str | None = None) -> list[str]:
        return [message for of, _, _, message in self.events if group in (None, of)]

    def reports(self, group: str | None = None) -> list[str]:
        return [message for message in self.messages(group) if message.startswith("REPORT ")]


class Metrics:
    def __init__(self) -> None:
        self.values: list[tuple[str, str, tuple[tuple[str, str], ...], float, float]] = []

    def add(self, namespace: str, name: str, dimensions: tuple[tuple[str, str], ...], at: float, value: float) -> None:
        self.values.append((namespace, name, dimensions, at, value))

    def of(self, name: str, *dimensions: tuple[str, str]) -> list[float]:
        return [value for _, of, where, _, value in self.values if of == name and where == dimensions]


class Lab:
    """The service under test and everything around it. `model` overrides parameters as a `--model` file would."""

    def __init__(
        self,
        *functions: FunctionDefinition,
        model: Mapping[str, Any] | None = None,
        seed: int = 1,
        make_client: Callable[[str, FunctionDefinition], Any] | None = None,
    ) -> None:
        self.clock = VirtualScheduler(START)
        self.definitions = LiteralDefinitions()
        self.definitions.functions = {function.name: function for function in functions}
        self.parameters: Parameters = parse_parameters(model or {})
        self.logs, self.metrics = Logs(), Metrics()
        self.truth, self.faults = Truth(self.parameters.chains), Faults(seed)
        self.service = LambdaService(
            self.definitions,
            self.clock,
            self.parameters,
            make_client=make_client or (lambda service, function: None),
            make_resource=make_client or (lambda service, function: None),
            logs=self.logs,
            metrics=self.metrics,
            truth=self.truth,
            faults=self.faults,
            seed=seed,
        )
        self.gateway = Gateway(
            self.definitions,
            self.clock,
            self.parameters,
            self.service,
            logs=self.logs,
            metrics=self.metrics,
            truth=self.truth,
            faults=self.faults,
            permissions=Permissions(self.faults),
            seed=seed,
        )

    def change(self, function: FunctionDefinition) -> None:
        """A control-plane call changed or made a function."""
        self.definitions.functions[function.name] = function
        self.definitions.generation += 1

    def provision(self, requested: int, name: str = "echo") -> None:
        """Ask for provisioned concurrency of a function; 0 takes it back."""
        self.definitions.provisioned[name] = requested
        if not requested:
            del self.definitions.provisioned[name]
        self.definitions.generation += 1
        self.service.provision()

    def start(self, name: str = "echo", payload: bytes = b"{}", **options: Any) -> list[InvokeResult]:
        """Begin an invocation; its result will be in the list."""
        results: list[InvokeResult] = []
        self.service.invoke(self.definitions.functions[name], payload, results.append, **options)
        return results

    def invoke(self, name: str = "echo", payload: bytes = b"{}", **options: Any) -> InvokeResult:
        """One invocation, to its end."""
        results = self.start(name, payload, **options)
        self.clock.run_all()
        return results[0]

    def start_request(self, method: str, path: str, body: bytes = b"", **options: Any) -> list[ApiResponse]:
        """Begin a request to the stage `prod`; its answer will be in the list."""
        stage = self.gateway.stage(None, "prod")
        assert stage is not None
        request = ApiRequest(
            method=method,
            path=path,
            query_string=options.get("query_string", b""),
            headers=options.get("headers", [(b"host", b"localhost"), (b"content-type", b"application/json")]),
            body=body,
            source_ip="127.0.0.1",
            sent_path=f"/prod{path}",
        )
        answers: list[ApiResponse] = []
        self.gateway.handle(stage, request, answers.append)
        return answers

    def request(self, method: str, path: str, body: bytes = b"", **options: Any) -> ApiResponse:
        """One request, to its end."""
        answers = self.start_request(method, path, body, **options)
        self.clock.run_all()
        return answers[0]
