"""A locustfile for tests: votes, with a master that misses a worker a second sooner than usual, and forgets it
at once instead of after a minute.
"""

from locust import runners

from locustfiles.vote import VoteUser  # noqa: F401 -- Locust looks for it here

runners.HEARTBEAT_LIVENESS = 2
runners.HEARTBEAT_DEAD_INTERNAL = -3
