"""Ids in the forms that AWS takes, never the same twice."""

from __future__ import annotations

import re
from random import Random
from uuid import UUID

import pytest

from loadgen import identity
from loadgen.identity import IdentitySource


def test_ids_are_version_4_uuids_and_an_xray_root():
    identity = IdentitySource(Random(1), 1.0).next(1_800_000_000.9)
    for text in (identity.request_id, identity.correlation_id):
        parsed = UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, "specified in RFC 4122")
    assert re.fullmatch(r"1-6b49d200-[0-9a-f]{24}", identity.trace_id)


def test_no_id_comes_twice():
    source = IdentitySource(Random(2), 0.5)
    ids = [id_ for _ in range(2000) for id_ in source.next(1.0)[:3]]
    assert len(set(ids)) == 6000


def test_small_numbers_keep_their_leading_zeros():
    class Zeros(Random):
        def getrandbits(self, bits: int) -> int:
            return 0

    identity = IdentitySource(Zeros(), 0.0).next(0.0)
    assert identity.request_id == "00000000-0000-4000-8000-000000000000"
    assert identity.trace_id == "1-00000000-000000000000000000000000"


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (1.0, 1000, 1000), (0.1, 60, 140)])
def test_share_of_sampled_requests(share, low, high):
    source = IdentitySource(Random(3), share)
    assert low <= sum(source.next(1.0).sampled == "1" for _ in range(1000)) <= high


def test_no_id_comes_twice_when_the_numbers_come_round(monkeypatch):
    monkeypatch.setattr(identity, "_NUMBERS", 8)
    source = IdentitySource(Random(4), 0.0)
    source._number = source._first = 0
    ids = [id_ for _ in range(40) for id_ in source.next(1.0)[:3]]
    assert len(set(ids)) == 120
