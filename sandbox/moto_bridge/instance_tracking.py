"""moto keeps every object it ever made, for its tests to look at: about a kilobyte for each update of a table's item.

In a sandbox that runs for a million invocations that is a leak. Only S3's objects stay tracked: its reset closes their
temporary files by that list.
"""

from __future__ import annotations

from typing import Any

from moto.core.common_models import BaseModel

_track = BaseModel.__new__


def install() -> None:
    """Stop the tracking. Calling it again changes nothing."""
    base_model: Any = BaseModel
    base_model.__new__ = _make


def _make(cls: type[BaseModel], *args: Any, **kwargs: Any) -> Any:
    return _track(cls, *args, **kwargs) if cls.__module__.startswith("moto.s3.") else object.__new__(cls)
