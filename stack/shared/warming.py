"""The event that only keeps environments alive, sent at intervals, `{"instruction": "warmer"}`: it is answered before
anything is done, logged or measured.

    @warmable
    def handler(event, context): ...
"""

from collections.abc import Callable
from functools import wraps
from typing import Any


def warmable(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, which never sees that event."""

    @wraps(handler)
    def invoked(event: Any, context: Any) -> Any:
        if isinstance(event, dict) and event.get("instruction") == "warmer":
            return {"warm": True}
        return handler(event, context)

    return invoked
