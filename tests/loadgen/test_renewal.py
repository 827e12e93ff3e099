"""Secrets renewed ahead of their end, in virtual time."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator
from random import Random

import gevent
import pytest
from gevent.event import Event

from loadgen.renewal import Lease, Renewal, RenewalError

START = 1_800_000_000.0
HOUR = 3600.0


class FakeTime:
    """A clock that stands until it is told to go on; those who sleep are woken in order."""

    def __init__(self) -> None:
        self.now = START
        self._sleepers: list[tuple[float, int, Event]] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        woken = Event()
        heapq.heappush(self._sleepers, (self.now + seconds, id(woken), woken))
        woken.wait()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        gevent.sleep(0)
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now = self._sleepers[0][0]
            while self._sleepers and self._sleepers[0][0] == self.now:
                heapq.heappop(self._sleepers)[2].set()
            for _ in range(3):
                gevent.sleep(0)
        self.now = end


class Issuer:
    """Hands out numbered secrets that last for an hour; counts who asks, and when."""

    def __init__(self, time: FakeTime, life_s: float | None = HOUR) -> None:
        self.time = time
        self.life_s = life_s
        self.asked_at: list[float] = []
        self.refuses = False
        self.mistake: Exception | None = None

    def __call__(self) -> Lease[str]:
        self.asked_at.append(self.time.now - START)
        gevent.sleep(0)
        if self.refuses:
            raise RenewalError("the issuer is down")
        if self.mistake is not None:
            raise self.mistake
        return Lease(
            f"secret-{len(self.asked_at)}", None if self.life_s is None else self.asked_at[-1] + START + self.life_s
        )


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def issuer(time) -> Issuer:
    return Issuer(time)


@pytest.fixture
def renewal(time, issuer) -> Iterator[Renewal[str]]:
    made = new_renewal(time, issuer)
    yield made
    made.close()


def new_renewal(time: FakeTime, issuer: Issuer, seed: int = 1, **options: float) -> Renewal[str]:
    return Renewal("Token", issuer, Random(seed), clock=time.clock, sleep=time.sleep, **options)


def test_a_thousand_greenlets_make_one_request(renewal, issuer):
    readers = [gevent.spawn(lambda: renewal.value) for _ in range(1000)]
    gevent.joinall(readers)
    assert {reader.value for reader in readers} == {"secret-1"}
    assert len(issuer.asked_at) == 1


def test_a_thousand_greenlets_at_the_end_of_a_secret_make_one_renewal(renewal, issuer, time):
    assert renewal.value == "secret-1"
    seen = []

    def read_for_an_hour() -> None:
        for _ in range(60):
            seen.append((time.now, renewal.value))
            time.sleep(60)

    readers = [gevent.spawn(read_for_an_hour) for _ in range(1000)]
    time.advance(HOUR)
    gevent.joinall(readers, timeout=5)
    assert len(issuer.asked_at) == 2
    assert {value for at, value in seen if at - START < issuer.asked_at[1]} == {"secret-1"}
    assert {value for at, value in seen if at - START > issuer.asked_at[1]} == {"secret-2"}


def test_it_is_renewed_ahead_of_its_end(renewal, issuer, time):
    assert renewal.value == "secret-1"
    time.advance(HOUR)
    assert HOUR - 1200 <= issuer.asked_at[1] <= HOUR - 600
    assert renewal.value == "secret-2"


def test_many_processes_do_not_renew_at_the_same_second(time):
    issuers = [Issuer(time) for _ in range(50)]
    renewals = [new_renewal(time, issuer, seed) for seed, issuer in enumerate(issuers)]
    assert {renewal.value for renewal in renewals} == {"secret-1"}
    time.advance(HOUR)
    assert len({int(issuer.asked_at[1]) for issuer in issuers}) > 40
    for renewal in renewals:
        renewal.close()


def test_a_short_life_is_renewed_in_its_second_third(time):
    issuer = Issuer(time, life_s=30)
    renewal = new_renewal(time, issuer)
    assert renewal.value == "secret-1"
    time.advance(30)
    assert 10 <= issuer.asked_at[1] <= 20
    renewal.close()


def test_a_failed_renewal_is_tried_again_while_the_old_one_lasts(renewal, issuer, time, caplog):
    assert renewal.value == "secret-1"
    issuer.refuses = True
    with caplog.at_level(logging.INFO):
        time.advance(HOUR - 300)
        attempts = len(issuer.asked_at) - 1
        assert renewal.value == "secret-1"
        issuer.refuses = False
        time.advance(60)
    assert renewal.value == f"secret-{attempts + 2}"
    waits = [later - earlier for earlier, later in zip(issuer.asked_at[1:], issuer.asked_at[2:], strict=False)]
    assert 0.5 <= waits[0] <= 1 < waits[2] <= 4 and max(waits) <= 60
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "the issuer is down" in caplog.text and "secret-" not in caplog.text
    assert renewal.complaints() == [f"Token: {attempts} attempts to renew it failed (the issuer is down)"]


def test_an_expired_secret_is_one_error_and_recovers(renewal, issuer, time, caplog):
    assert renewal.value == "secret-1"
    issuer.refuses = True
    time.advance(3 * HOUR)
    assert renewal.value == "secret-1"
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert "expired at 2027-01-15 09:00:00 UTC and not renewed (the issuer is down)" in caplog.text
    assert renewal.complaints()[0].endswith("it had expired meanwhile")
    issuer.refuses = False
    time.advance(61)
    assert renewal.value == f"secret-{len(issuer.asked_at)}"


def test_what_is_handed_out_again_until_its_end_expires_once(time, caplog):
    fixed = Lease("fixed", START + HOUR)
    renewal: Renewal[str] = Renewal("Token", lambda: fixed, Random(1), clock=time.clock, sleep=time.sleep)
    assert renewal.value == "fixed"
    time.advance(2 * HOUR)
    assert renewal.value == "fixed"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    renewal.close()


def test_a_mistake_of_the_issuer_is_a_failure_like_any_other(renewal, issuer, time, caplog):
    assert renewal.value == "secret-1"
    issuer.mistake = KeyError("s3cret")
    time.advance(HOUR - 300)
    issuer.mistake = None
    time.advance(60)
    assert renewal.value == f"secret-{len(issuer.asked_at)}"
    assert "KeyError on the way to it" in caplog.text and "s3cret" not in caplog.text


def test_a_first_failure_is_everybodys_and_asked_for_once(renewal, issuer):
    issuer.refuses = True

    def read() -> str:
        try:
            return renewal.value
        except RenewalError as failure:
            return str(failure)

    readers = [gevent.spawn(read) for _ in range(1000)]
    gevent.joinall(readers)
    assert {reader.value for reader in readers} == {"the issuer is down"}
    assert len(issuer.asked_at) == 1


def test_what_has_expired_already_is_refused(time):
    renewal = new_renewal(time, Issuer(time, life_s=-1))
    with pytest.raises(RenewalError, match="what there is expired at 2027-01-15 07:59:59 UTC"):
        _ = renewal.value


@pytest.mark.parametrize(("unknown_life_s", "asked"), [(None, 1), (900.0, 2)])
def test_a_secret_without_an_end_is_renewed_only_where_it_should_be(time, unknown_life_s, asked):
    issuer = Issuer(time, life_s=None)
    renewal = new_renewal(time, issuer, unknown_life_s=unknown_life_s)
    assert renewal.value == "secret-1"
    time.advance(610)
    assert len(issuer.asked_at) == asked
    renewal.close()


def test_a_closed_one_asks_no_more(renewal, issuer, time):
    assert renewal.value == "secret-1"
    gevent.sleep(0)
    renewal.close()
    time.advance(2 * HOUR)
    assert len(issuer.asked_at) == 1


def test_a_secret_stands_in_no_representation():
    assert "hidden" not in repr(Lease("hidden", 1.0))
