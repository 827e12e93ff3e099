"""What the flows send: the sealed message opens with the private key, as KMS would open it."""

from __future__ import annotations

import base64
import json
from random import Random

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from loadgen.payloads import VOTE_CHOICES, VOTE_IDS, Seal, vote


def der(key) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def test_sealed_message_holds_the_two_sales():
    key = rsa.generate_private_key(65537, 2048)
    message = Seal(der(key)).message("shop-7")
    opened = key.decrypt(
        base64.b64decode(message["content_base64"]), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    )
    assert message["shop_id"] == "shop-7"
    assert len(opened) <= 190, "what RSA-2048 with OAEP-SHA256 holds"
    assert json.loads(opened) == [
        {"item_no": 90001, "number": 5, "turnover": 5},
        {"item_no": 90002, "number": 1, "turnover": 2},
    ]


@pytest.mark.parametrize("key", ["", "no base64!", base64.b64encode(b"no key").decode()])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match="not the base64 of a public key"):
        Seal(key)


def test_key_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="not an RSA key"):
        Seal(der(ec.generate_private_key(ec.SECP256R1())))


def test_votes_repeat_with_their_seed():
    votes = [vote(Random("7-0")) for _ in range(2)]
    assert votes[0] == votes[1] != vote(Random("7-1"))
    assert set(votes[0]) == {"vote_id", "token", "vote_choice"}
    assert votes[0]["vote_id"] in VOTE_IDS
    assert votes[0]["vote_choice"] in VOTE_CHOICES
