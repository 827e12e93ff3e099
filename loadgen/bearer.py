"""Bearer tokens: one that is given, or those that a command prints.

    API_BEARER_COMMAND="gcloud auth print-identity-token"

The command is run without a shell. It prints the token alone, or JSON as OAuth 2.0 token endpoints answer (RFC 6749,
5.1): `access_token` or `token`, and where it has them `expires_in` (seconds) or `expires_at` (epoch seconds, or a time
with its zone as of ISO 8601). Of a token that is a JWT its own `exp` counts too (RFC 7519, 4.1.4).
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import shlex
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson

# Not the standard library's, which would hold everybody up where Locust has not replaced it.
from gevent import subprocess

from loadgen.renewal import Lease, RenewalError

COMMAND_LIMIT_S = 30.0
"""A command that takes longer is ended."""
UNKNOWN_LIFE_S = 900.0
"""How long a token of a command is taken to last where nothing says so."""
_END_S = 1.0


def given_token(token: str) -> Lease[str]:
    """A token that cannot be renewed. Raises RenewalError, without it, where it cannot be one."""
    return Lease(_checked(token), _jwt_expiry(token))


def token_of_command(
    command: str, *, limit_s: float = COMMAND_LIMIT_S, clock: Callable[[], float] = time.time
) -> Lease[str]:
    """Run the command and read its token. Raises RenewalError, which holds nothing of what it printed."""
    asked_at = clock()
    try:
        process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as failure:
        why = failure.strerror if isinstance(failure, OSError) else "it is not a command line"
        raise RenewalError(f"the command cannot be run: {why}") from None
    try:
        output, _ = process.communicate(timeout=limit_s)
    except BaseException as interruption:
        # Also where the run is over meanwhile.
        _end(process)
        if isinstance(interruption, subprocess.TimeoutExpired):
            raise RenewalError(f"the command did not end within {limit_s:g} s") from None
        raise
    if process.returncode:
        raise RenewalError(f"the command ended with status {process.returncode}")
    try:
        return parse_token(output.decode(), asked_at)
    except UnicodeDecodeError:
        raise RenewalError("the command printed what is no text") from None


def parse_token(output: str, asked_at: float) -> Lease[str]:
    """What a command has printed, asked at `asked_at` (epoch seconds), as a token. Raises RenewalError without it."""
    text = output.strip()
    if not text.startswith("{"):
        return Lease(_checked(text), _jwt_expiry(text))
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RenewalError("the command printed what is neither a token nor JSON") from None
    token = answer.get("access_token") or answer.get("token")
    if not isinstance(token, str):
        raise RenewalError("the command printed JSON without access_token or token")
    ends = [_jwt_expiry(token)]
    if answer.get("expires_in") is not None:
        ends.append(asked_at + _number(answer, "expires_in"))
    if answer.get("expires_at") is not None:
        ends.append(_time(answer))
    return Lease(_checked(token), min((end for end in ends if end is not None), default=None))


def _end(process: Any) -> None:
    """Nothing of a command that was given up is left: neither itself nor what it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # Whoever reads its output comes to an end with it: nothing may be closed under their hands.
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_END_S)


def _checked(token: str) -> str:
    if not token:
        raise RenewalError("it is empty")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise RenewalError("it has characters that no token may have, such as a line break")
    return token


def _number(answer: dict[str, Any], key: str) -> float:
    try:
        number = float(answer[key])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RenewalError(f"the command printed JSON whose {key} is no number")
    return number


def _time(answer: dict[str, Any]) -> float:
    with suppress(TypeError, ValueError):
        at = datetime.fromisoformat(answer["expires_at"])
        if at.tzinfo is not None:
            return at.timestamp()
    return _number(answer, "expires_at")


def _jwt_expiry(token: str) -> float | None:
    """`exp` of a JWT, None where the token is none or has none. Nothing is verified: that is the API's business."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return float(expiry) if isinstance(expiry, int | float) and not isinstance(expiry, bool) else None
