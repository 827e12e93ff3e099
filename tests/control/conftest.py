"""What the tests of commands share."""

from collections.abc import Iterator

import pytest

from control.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a sandbox process, one for all tests of a worker: whoever puts it out of order mends it."""
    process = SandboxProcess.start(tmp_path_factory.mktemp("sandbox") / "log")
    yield process.endpoint
    process.stop()
