"""Batches reach the master's file once and in order, whatever the channel does with them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadgen.shipping import RESEND_AFTER_S, Batch, Inbox, Outbox


class Channel:
    """An outbox whose batches are kept."""

    def __init__(self) -> None:
        self.sent: list[Batch] = []
        self.outbox = Outbox("run", 1, self.sent.append)

    def put(self, *rows: bytes, now: float = 0.0) -> None:
        self.outbox.put(len(rows), b"".join(rows), now)

    @property
    def numbers(self) -> list[int]:
        return [batch.number for batch in self.sent]


class Received:
    def __init__(self) -> None:
        self.lines = b""
        self.inbox = Inbox(self._append)

    def _append(self, lines: bytes) -> None:
        self.lines += lines


def batches(count: int) -> list[Batch]:
    channel = Channel()
    for number in range(1, count + 1):
        channel.put(b"%d\n" % number)
    return channel.sent


def test_batch_survives_being_a_message():
    channel = Channel()
    channel.put(b"1\n", b"2\n")
    received = Received()
    received.inbox.receive(Batch.from_message(channel.sent[0].as_message()))
    assert (received.lines, received.inbox.rows) == (b"1\n2\n", 2)


@given(st.permutations(range(6)), st.lists(st.integers(0, 5)))
def test_any_order_and_any_repetition_give_each_row_once(order, repeated):
    sent, received = batches(6), Received()
    for index in [*order[:3], *repeated, *order]:
        received.inbox.receive(sent[index])
    assert received.lines == b"1\n2\n3\n4\n5\n6\n"
    assert (received.inbox.rows, received.inbox.through) == (6, 6)


def test_gap_holds_back_what_follows_until_nothing_more_will_come():
    sent, received = batches(4), Received()
    for index in (0, 2, 3):
        received.inbox.receive(sent[index])
    assert (received.lines, received.inbox.through) == (b"1\n", 1)
    received.inbox.give_up_waiting()
    assert (received.lines, received.inbox.rows) == (b"1\n3\n4\n", 3)


def test_unacknowledged_batches_are_sent_again_after_a_while():
    channel = Channel()
    channel.put(b"1\n", now=10.0)
    channel.put(b"2\n", now=11.0)
    channel.outbox.resend(10.0 + RESEND_AFTER_S - 0.1)
    assert channel.numbers == [1, 2]
    channel.outbox.resend(10.0 + RESEND_AFTER_S)
    assert channel.numbers == [1, 2, 1, 2]
    channel.outbox.resend(10.5 + RESEND_AFTER_S)
    assert channel.numbers == [1, 2, 1, 2]


def test_acknowledgement_covers_everything_before_it():
    channel = Channel()
    for number in range(3):
        channel.put(b"%d\n" % number)
    channel.outbox.acknowledge(2, 1.0)
    assert not channel.outbox.empty
    channel.outbox.resend(1.0 + RESEND_AFTER_S)
    assert channel.numbers == [1, 2, 3, 3]
    channel.outbox.acknowledge(3, 9.0)
    assert channel.outbox.empty


def test_old_acknowledgement_is_harmless():
    channel = Channel()
    channel.put(b"1\n")
    channel.put(b"2\n")
    channel.outbox.acknowledge(2, 0.0)
    channel.outbox.acknowledge(1, 0.0)
    assert channel.outbox.empty
    assert channel.outbox.sent_rows == 2
