"""What a function's configuration says, as GetFunctionConfiguration tells it; emulators leave some of it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def architecture_of(configuration: Mapping[str, Any]) -> str:
    """`x86_64`, which is Lambda's default, or `arm64`."""
    return str((configuration.get("Architectures") or ["x86_64"])[0])


def timeout_s_of(configuration: Mapping[str, Any]) -> float:
    """The time limit; Lambda's default is 3 s."""
    return float(configuration.get("Timeout") or 3)
