"""An AWS that we did not write, shared by the tests, and a way to end them that leaves nothing of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.emulator import processes
from tests.emulator.processes import Emulator


@pytest.fixture(scope="session", autouse=True)
def terminated_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM too lets fixtures clear up."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with processes.emulator() as started:
        yield started


@pytest.fixture(scope="session")
def aws(emulator: Emulator) -> Any:
    """boto3 clients of the emulator, by service."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    config = Config(s3={"addressing_style": "path"})
    return lambda service: session.client(service, endpoint_url=emulator.endpoint, config=config)
