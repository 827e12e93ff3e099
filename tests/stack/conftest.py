"""Handlers under test: loaded from their file with hand-made clients in place of boto3's."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest

STACK = Path(__file__).parents[2] / "stack"


class FakeClients:
    """One recorder for every service: calls in order, answers or errors by operation."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.configs: dict[str, Any] = {}

    def client(self, service: str, **options: Any) -> Any:
        self.configs[service] = options.get("config")
        return _Client(self)

    def arguments(self, operation: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.calls if name == operation]


class _Client:
    def __init__(self, fakes: FakeClients) -> None:
        self._fakes = fakes

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self._fakes.calls.append((operation, arguments))
            answer = self._fakes.answers.get(operation, {})
            if isinstance(answer, Exception):
                raise answer
            return answer(arguments) if callable(answer) else answer

        return call


@pytest.fixture
def clients() -> FakeClients:
    return FakeClients()


@pytest.fixture
def load(clients: FakeClients, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`load("vote", LOG_LEVEL="DEBUG")` -> the application's handler module, fresh."""

    def load_handler(application: str, **environment: str) -> ModuleType:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "client", clients.client)
        monkeypatch.syspath_prepend(str(STACK / "shared"))
        spec = importlib.util.spec_from_file_location(f"{application}_handler", STACK / application / "handler.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_handler


@pytest.fixture
def context() -> SimpleNamespace:
    return SimpleNamespace(aws_request_id="b5c1f6d0-0000-4000-8000-000000000001")


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Any:
    """`log()` -> the JSON lines printed since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def proxy_event(body: Any, **more: Any) -> dict[str, Any]:
    """What API Gateway hands to a function, as far as the handlers look at it."""
    return {
        "body": body if isinstance(body, str) or body is None else json.dumps(body),
        "isBase64Encoded": False,
        "requestContext": {"requestId": "gateway-1"},
        **more,
    }


@pytest.fixture
def proxy() -> Any:
    return proxy_event
