"""Serving a sandbox over HTTP until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import uvicorn
import uvloop

from sandbox.application import Application
from sandbox.assembly import Sandbox
from sandbox.clock import LoopScheduler
from sandbox.listening import descriptors, endpoint
from sandbox.model.parameters import Parameters


class _Server(uvicorn.Server):
    """uvicorn's server, ended by our own signal handlers: a signal is an ordinary end here, exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True


def serve(
    listener: socket.socket,
    parameters: Parameters,
    *,
    seed: int,
    faults: list[object],
    truth_file: Path | None,
    on_ready: Callable[[str], None],
) -> None:
    """Run a sandbox on a bound socket until SIGTERM or SIGINT; then write the truth, if a file is given."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(listener, parameters, seed, faults, truth_file, on_ready))


async def _serve(
    listener: socket.socket,
    parameters: Parameters,
    seed: int,
    faults: list[object],
    truth_file: Path | None,
    on_ready: Callable[[str], None],
) -> None:
    sandbox = Sandbox(LoopScheduler(asyncio.get_running_loop()), parameters, seed)
    try:
        sandbox.faults.add(faults)
        config = uvicorn.Config(
            Application(sandbox),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # uvicorn's is up to a second old, and of the request's start; ours: `Application`
            proxy_headers=False,
            backlog=4096,
            timeout_keep_alive=310,  # as API Gateway's idle connections (AWS, limits)
            timeout_graceful_shutdown=2,
        )
        server = _Server(config)
        # What exists by now lives as long as the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        running = asyncio.ensure_future(server.serve(descriptors(listener)))
        while not server.started and not running.done():
            await asyncio.sleep(0.001)
        if server.started:
            on_ready(endpoint(listener))
        await running
        if truth_file is not None:
            truth_file.write_bytes(orjson.dumps(sandbox.truth.as_dict(), option=orjson.OPT_INDENT_2))
    finally:
        gc.unfreeze()
        sandbox.close()
