"""What a tuned function is invoked with: payloads from a file, each with a weight, or samples for our own functions.

| file | holds |
|---|---|
| `*.json` | one event; or a list of `{"payload": event, "weight": number}` |
| `*.jsonl` | one event a line, or `{"payload": event, "weight": number}` a line |

`weight` may be left out and is then 1. An object with other keys beside these two is an event itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from config.errors import ConfigError

MAX_BYTES = 6 * 1024 * 1024
"""AWS [gettingstarted-limits]: of a synchronous invocation."""
SAMPLES = 20
_SALES = [{"item_no": 90001, "number": 5, "turnover": 5}, {"item_no": 90002, "number": 1, "turnover": 2}]
"""Of every sample sale: what the shop flow of the load generator sends."""


@dataclass(frozen=True)
class Payload:
    """One event and how often it comes in proportion to the others."""

    content: bytes
    """JSON."""
    weight: float = 1.0


def read_payloads(path: Path) -> list[Payload]:
    """The payloads of a file. Raises ConfigError with every problem."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"PAYLOAD: {path}: {error}") from None
    by_line = path.suffix.lower() in (".jsonl", ".ndjson")
    pieces = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()] if by_line else [(1, text)]
    problems: list[str] = []
    found: list[Payload] = []
    for number, piece in pieces:
        where = f"PAYLOAD: {path}:{number}"
        try:
            document = json.loads(piece)
        except ValueError as error:
            problems.append(f"{where}: not JSON: {error}")
            continue
        if by_line or not isinstance(document, list):
            entries = [(where, document)]
        else:
            entries = [(f"PAYLOAD: {path}: entry {index}", entry) for index, entry in enumerate(document, 1)]
            if not all(isinstance(entry, dict) and _is_weighted(entry) for _, entry in entries):
                problems.append(
                    f'PAYLOAD: {path}: a list must hold {{"payload": …, "weight": …}}; '
                    "an event that is a list itself goes into a .jsonl file"
                )
                continue
        for place, entry in entries:
            try:
                found.append(_payload(entry))
            except ValueError as error:
                problems.append(f"{place}: {error}")
    if not found and not problems:
        problems.append(f"PAYLOAD: {path}: holds no payload")
    if problems:
        raise ConfigError(problems)
    return found


def _is_weighted(document: object) -> bool:
    return isinstance(document, dict) and "payload" in document and set(document) <= {"payload", "weight"}


def _payload(document: Any) -> Payload:
    event, weight = document, 1.0
    if _is_weighted(document):
        event, weight = document["payload"], document.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not (0 < weight < math.inf):
        raise ValueError(f"weight must be a number above 0, not {weight!r}")
    content = json.dumps(event, separators=(",", ":")).encode()
    if len(content) > MAX_BYTES:
        raise ValueError(f"{len(content):,} bytes are more than an invocation takes ({MAX_BYTES:,})")
    return Payload(content, float(weight))


# -------------------------------------------------------------------- samples


def sample_payloads(function: str, random: Random, public_key: str | None) -> list[Payload] | None:
    """Events as AWS would hand them to a function of the sample applications; None for any other.

    `function`: logical name; `public_key`: base64 of the shop key's DER form, which shop-accept and shop-decrypt need.
    Raises ConfigError where it is missing or no key.
    """
    make = _SAMPLES.get(function)
    if make is None:
        return None
    seal = _seal(public_key) if function in ("shop-accept", "shop-decrypt") else lambda content: content
    return [Payload(json.dumps(make(_Sample(random, seal)), separators=(",", ":")).encode()) for _ in range(SAMPLES)]


def sampled_functions() -> tuple[str, ...]:
    """Logical names of the functions that there are sample events for."""
    return tuple(_SAMPLES)


@dataclass(frozen=True)
class _Sample:
    """What one sample event is made of."""

    random: Random
    seal: Callable[[bytes], bytes]

    def id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def shop(self, **content: Any) -> dict[str, Any]:
        shop_id = f"shop-{self.random.randrange(100):03d}"
        return {"shop_id": shop_id, **content, "correlation_id": f"tune-{self.id()}"}

    def sealed_shop(self) -> dict[str, Any]:
        return self.shop(content_base64=base64.b64encode(self.seal(json.dumps(_SALES).encode())).decode())

    def vote(self) -> dict[str, Any]:
        return {
            "vote_id": f"poll-{self.random.randint(1, 10)}",
            "token": f"{self.random.getrandbits(64):016x}",
            "vote_choice": self.random.choice(("red", "green", "blue", "yellow")),
        }

    def order(self) -> dict[str, Any]:
        order = {"order_id": f"{self.random.getrandbits(64):016x}", "item_no": 90001, "number": 1}
        return order | {"correlation_id": f"tune-{self.id()}"}

    def notification(self, message: Mapping[str, Any]) -> dict[str, Any]:
        sns = {"MessageId": self.id(), "Message": json.dumps(message)}
        return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns}]}

    def stream_record(self, data: Mapping[str, Any]) -> dict[str, Any]:
        kinesis = {
            "data": base64.b64encode(json.dumps(data).encode()).decode(),
            "partitionKey": self.id(),
            "sequenceNumber": str(self.random.getrandbits(180)),
        }
        return {"eventSource": "aws:kinesis", "kinesis": kinesis}

    def request(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """An API's proxy event, payload format 1.0, as far as functions look at it."""
        context = {"requestId": self.id(), "httpMethod": "POST", "path": path, "stage": "prod"}
        return {
            "resource": path,
            "path": path,
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "queryStringParameters": None,
            "pathParameters": None,
            "requestContext": context,
            "body": json.dumps(body),
            "isBase64Encoded": False,
        }


_SAMPLES: Mapping[str, Callable[[_Sample], Any]] = {
    "place-vote": lambda sample: sample.request("/vote", sample.vote()),
    "tally-votes": lambda sample: {"Records": [sample.stream_record(sample.vote()) for _ in range(10)]},
    "shop-accept": lambda sample: sample.request("/shop", sample.sealed_shop()),
    "shop-decrypt": lambda sample: sample.notification(sample.sealed_shop()),
    "shop-update-db": lambda sample: sample.notification(sample.shop(sales=_SALES)),
    "queue-consumer": lambda sample: {"Records": [{"messageId": sample.id(), "body": json.dumps(sample.order())}]},
    "topic-consumer": lambda sample: sample.notification(sample.order()),
    "bus-consumer": lambda sample: {"id": sample.id(), "detail-type": "order", "detail": sample.order()},
    "stream-consumer": lambda sample: {"Records": [sample.stream_record(sample.order())]},
}


def _seal(public_key: str | None) -> Callable[[bytes], bytes]:
    """Encrypts as KMS would with RSAES_OAEP_SHA_256."""
    if public_key is None:
        raise ConfigError("SHOP_PUBLIC_KEY: not set, and no stack to read it from: sample sales cannot be encrypted")
    try:
        key = load_der_public_key(base64.b64decode(public_key, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise ConfigError("SHOP_PUBLIC_KEY: it is not the base64 of a public key in DER form") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ConfigError("SHOP_PUBLIC_KEY: it is not an RSA key")
    how = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return lambda content: key.encrypt(content, how)
