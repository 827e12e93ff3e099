"""Rows shared out among workers: no overlap, nothing left out, whatever is lost on the way."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from loadgen.leases import ASK_AGAIN_AFTER_S, MAX_WANTED, Lessor, Tenant
from loadgen.payload_file import Chunk, Chunks


def chunks(*rows: int) -> Chunks:
    """Chunks of so many rows, 100 bytes each."""
    made = Chunks()
    for index, count in enumerate(rows):
        made.append(Chunk(100 * index, 100 * index + 100, 1 + sum(rows[:index]), count))
    return made


class Network:
    """A master and its workers; loses, doubles and delays what they say to each other, by chance."""

    def __init__(self, lessor: Lessor, seed: int | None = None) -> None:
        self.lessor = lessor
        self.chance = None if seed is None else Random(seed)
        self.now = 0.0
        self.tenants: dict[str, Tenant] = {}
        self.late: list[tuple] = []

    def worker(self, name: str) -> Tenant:
        return self.tenants.setdefault(name, Tenant())

    def take(self, name: str, tries: int = 200) -> int | None:
        """A row, by its number in the file from 0; None where nothing is left."""
        tenant = self.worker(name)
        for _ in range(tries):
            question = tenant.question(self.now, waiting=1)
            if question is not None:
                self.send(name, question)
            if taken := tenant.take():
                piece, place = taken
                return piece.line - 1 + piece.sequence()[place]
            if tenant.over:
                return None
            self.now += 0.5
            self.deliver_late()
        raise AssertionError("no row comes")

    def send(self, name, question) -> None:
        lost, doubled, late = (
            (False, False, False) if self.chance is None else (self.chance.random() < 0.3 for _ in "123")
        )
        if lost:
            return
        for _ in range(2 if doubled else 1):
            pieces = self.lessor.ask(name, *question)
            answer = (name, question.number, list(pieces), self.lessor.exhausted)
            if late:
                self.late.append(answer)
            else:
                self.deliver(*answer)

    def deliver_late(self) -> None:
        answers, self.late = self.late, []
        for answer in answers:
            self.deliver(*answer)

    def deliver(self, name, number, pieces, exhausted) -> None:
        surplus = self.tenants[name].answered(number, pieces, exhausted)
        self.lessor.give_back(name, surplus)

    def leave(self, name: str) -> None:
        self.lessor.give_back(name, self.tenants[name].close())


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_once_gives_each_row_to_one_worker_and_to_no_other(seed):
    network = Network(Lessor(chunks(30, 1, 69), "once", 7), seed)
    taken: list[int] = []
    while (rows := [network.take(name) for name in ("a", "b", "c")]) != [None] * 3:
        taken += [row for row in rows if row is not None]
    assert sorted(taken) == list(range(100))


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_once_with_a_worker_killed_sends_nothing_twice_and_loses_what_was_with_it(seed):
    lessor = Lessor(chunks(*[100] * 10), "once", 7)
    network = Network(lessor, seed)
    taken = Counter(network.take(name) for _ in range(20) for name in ("a", "b", "c"))
    held = lessor.rows_with("b") - 20
    while (rows := [network.take(name) for name in ("a", "c")]) != [None, None]:
        taken += Counter(row for row in rows if row is not None)
    assert max(taken.values()) == 1
    assert len(taken) == 1000 - held
    assert 0 <= held < 400


def test_once_with_a_worker_that_leaves_loses_nothing():
    network = Network(Lessor(chunks(*[10] * 30), "once", 7))
    taken = [network.take(name) for _ in range(10) for name in ("a", "b", "c")]
    network.leave("b")
    taken += [network.take("d") for _ in range(5)]
    for name in ("a", "c", "d"):
        while (row := network.take(name)) is not None:
            taken.append(row)
    assert sorted(taken) == list(range(300))
    assert network.lessor.handed_out == 300


def test_a_lease_that_comes_after_its_worker_has_left_is_given_back():
    network = Network(Lessor(chunks(10), "once", 7))
    tenant = network.worker("a")
    question = tenant.question(0.0, waiting=4)
    pieces = network.lessor.ask("a", *question)
    network.leave("a")
    network.deliver("a", question.number, pieces, False)
    assert network.lessor.handed_out == 0
    assert sorted(iter(lambda: network.take("b"), None)) == list(range(10))


def test_passes_are_whole_as_the_lessor_hands_them_out():
    for order in ("sequential", "random"):
        lessor = Lessor(chunks(7, 50, 3), order, 7)
        rows: list[int] = []
        for number in range(1, 121):
            for piece in lessor.ask(f"worker {number % 3}", 1 + number // 3, 1):
                rows += [piece.line - 1 + place for place in piece.sequence()[piece.first : piece.last]]
        assert sorted(rows[:60]) == sorted(rows[60:]) == list(range(60))


def test_sequential_is_the_file_s_order():
    network = Network(Lessor(chunks(3, 2), "sequential", 7))
    assert [network.take("a") for _ in range(12)] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def test_random_is_another_order_each_pass_and_each_seed_and_the_same_for_the_same():
    def first_two_passes(seed: int) -> tuple[list[int | None], list[int | None]]:
        network = Network(Lessor(chunks(*[10] * 10), "random", seed))
        rows = [network.take("a") for _ in range(200)]
        return rows[:100], rows[100:]

    one, two = first_two_passes(1)
    assert sorted(one) == sorted(two) == list(range(100))
    assert one != two
    assert first_two_passes(1) == (one, two)
    assert first_two_passes(2)[0] != one


@pytest.mark.parametrize("order", ["sequential", "random"])
def test_one_row_serves_all_workers(order):
    network = Network(Lessor(chunks(1), order, 7))
    assert {network.take(name) for _ in range(30) for name in ("a", "b", "c")} == {0}


def test_one_row_once_goes_to_one_worker():
    network = Network(Lessor(chunks(1), "once", 7))
    assert [network.take(name) for name in ("a", "b", "c")] == [0, None, None]
    assert network.lessor.exhausted


def test_a_worker_that_joins_late_gets_rows_of_its_own():
    network = Network(Lessor(chunks(*[10] * 20), "once", 7))
    before = [network.take(name) for _ in range(20) for name in ("a", "b")]
    after = [network.take("late") for _ in range(20)]
    assert not set(before) & set(after)
    assert None not in after


def test_a_worker_asks_for_what_it_uses_in_a_second():
    network = Network(Lessor(chunks(*[1000] * 100), "sequential", 7))
    questions = 0
    for _ in range(5000):  # 1,000 rows a second
        before = network.worker("a")._number
        network.take("a")
        questions += network.worker("a")._number - before
        network.now += 0.001
    assert questions < 25
    assert network.worker("a").rows <= 2000


def test_nobody_gets_more_at_a_time_than_a_limit():
    lessor = Lessor(chunks(*[1000] * 100), "sequential", 7)
    assert sum(piece.last - piece.first for piece in lessor.ask("a", 1, 10**9)) == MAX_WANTED


def test_a_question_without_answer_is_repeated_and_answered_alike():
    lessor, tenant = Lessor(chunks(100), "once", 7), Tenant()
    first = tenant.question(0.0, waiting=10)
    lost = lessor.ask("a", *first)
    assert tenant.question(ASK_AGAIN_AFTER_S - 0.1, waiting=10) is None
    again = tenant.question(ASK_AGAIN_AFTER_S, waiting=50)
    assert again == first
    assert lessor.ask("a", *again) == lost
    assert lessor.handed_out == 10


def test_rows_that_come_back_when_nobody_asks_any_more_are_counted_and_told():
    network = Network(Lessor(chunks(100), "once", 7))
    network.send("idle", network.worker("idle").question(0.0, waiting=30))
    taken = list(iter(lambda: network.take("busy"), None))
    assert network.lessor.complaints("orders.csv", [], ended=True) == []
    network.leave("idle")
    assert network.lessor.unsent == 100 - len(taken) == 30
    [complaint] = network.lessor.complaints("orders.csv", [], ended=True)
    assert complaint.startswith("30 rows of orders.csv were not sent")
    assert network.lessor.complaints("orders.csv", [], ended=False) == [], "the run was ended before its rows were"
