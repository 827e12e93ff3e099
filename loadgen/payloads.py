"""What the sample flows send."""

from __future__ import annotations

import base64
import binascii
from random import Random
from typing import Any

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

VOTE_IDS = tuple(f"poll-{number}" for number in range(1, 11))
VOTE_CHOICES = ("red", "green", "blue", "yellow")
SHOPS = 100

SALES: tuple[dict[str, int], ...] = (
    {"item_no": 90001, "number": 5, "turnover": 5},
    {"item_no": 90002, "number": 1, "turnover": 2},
)
"""The content of every shop message."""


def vote(source: Random) -> dict[str, str]:
    """One vote. The token is random: it spreads the records over a stream's shards."""
    return {
        # Several times as quick as `choice`, and as even as random() is.
        "vote_id": VOTE_IDS[int(source.random() * len(VOTE_IDS))],
        "token": f"{source.getrandbits(64):016x}",
        "vote_choice": VOTE_CHOICES[int(source.random() * len(VOTE_CHOICES))],
    }


def order(source: Random) -> dict[str, Any]:
    """One order of the events flow."""
    return {
        "order_id": f"{source.getrandbits(64):016x}",
        "item_no": source.randrange(90001, 90101),
        "number": source.randint(1, 5),
    }


class Seal:
    """Encrypts shop messages under the public half of the shop's key, as KMS would with RSAES_OAEP_SHA_256."""

    def __init__(self, public_key: str) -> None:
        """`public_key`: base64 of the DER form that KMS GetPublicKey returns.

        Raises ValueError where it is not an RSA key.
        """
        try:
            key = load_der_public_key(base64.b64decode(public_key, validate=True))
        except (binascii.Error, ValueError, UnsupportedAlgorithm):
            raise ValueError("it is not the base64 of a public key in DER form") from None
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("it is not an RSA key")
        self._key = key
        self._padding = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)

    def message(self, shop_id: str) -> dict[str, str]:
        """The sales, sealed: `{"shop_id", "content_base64"}`."""
        sealed = self._key.encrypt(orjson.dumps(SALES), self._padding)
        return {"shop_id": shop_id, "content_base64": base64.b64encode(sealed).decode()}
