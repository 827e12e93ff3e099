"""A user's loop over its tasks: Locust's own, without a detour between two requests.

Where a user does not wait, Locust lets it sleep for 0 s, so that others get their turn. A request that was answered has
been such a turn already.
"""

from __future__ import annotations

from typing import Any

from locust.user.task import DefaultTaskSet


class UserTasks(DefaultTaskSet):
    """The tasks of one `RecordedUser`."""

    def get_next_task(self) -> Any:
        tasks = self._user.tasks
        return tasks[0] if len(tasks) == 1 else super().get_next_task()

    def _sleep(self, seconds: float) -> None:
        user: Any = self._user
        if seconds > 0 or not user.let_others_run:
            super()._sleep(seconds)
        user.let_others_run = False
