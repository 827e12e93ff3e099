"""A load profile as a Locust shape."""

from __future__ import annotations

from locust import LoadTestShape

from config.profiles import Profile, users_at


class ProfileShape(LoadTestShape):
    """Asks for the users of a profile, second by second.

    Made and set in `init` and never put into a locustfile: a shape class in its namespace would switch `-u`, `-r` and
    `-t` off for everybody.
    """

    use_common_options = True
    """Keeps the form of the web UI."""

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self._profile = profile
        self.all_sent = False
        """Set once all messages of the profile have been answered: there is nothing left to do."""
        self.over = False
        """The profile has come to its end; a run that stops without it was cut short."""

    def reset_time(self) -> None:
        super().reset_time()
        self.all_sent = self.over = False

    def tick(self) -> tuple[int, float] | None:
        now = None if self.all_sent else users_at(self._profile, self.get_run_time())
        self.over = now is None
        return now
