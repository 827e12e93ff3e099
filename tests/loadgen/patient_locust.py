"""Locust, whose master gives its workers a minute instead of three seconds to be heard.

On a busy machine a worker may be silent for some seconds, and hardly a test is about that; those that are say how many.
"""

import os

from locust import runners
from locust.main import main

runners.HEARTBEAT_LIVENESS = int(os.environ.get("HEARTBEAT_LIVENESS", "60"))

main()
