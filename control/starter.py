"""Ending with whoever started us, who may be killed without being able to say so.

A shell that ends leaves what it put into the background, and that is what its user wants. `make` does not: it waits for
its commands, and takes a SIGTERM to them. So only what make started ends with its starter.
"""

from __future__ import annotations

import os
import signal
import threading
import time

LOOK_S = 0.5


def end_with(starter: int) -> None:
    """Have this process told to end (SIGTERM) once the process `starter` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == starter:
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="starter", daemon=True).start()
