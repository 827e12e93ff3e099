"""When arrivals of several workers begin. All times are made up."""

from loadgen.starting_line import WAIT_S, Begin, StartingLine


def test_arrivals_begin_once_every_worker_is_ready():
    line = StartingLine(["a", "b"])
    line.ready("a", 10.0)
    assert line.begin(10.0) == []
    line.ready("b", 10.7)
    assert line.begin(10.7) == [Begin("a", 0.0, joined=False), Begin("b", 0.0, joined=False)]
    assert line.begin(10.8) == []


def test_who_is_late_is_told_by_how_much():
    line = StartingLine(["a", "b"])
    line.ready("a", 10.0)
    assert line.begin(10.0 + WAIT_S) == [Begin("a", 0.0, joined=False)]
    line.ready("b", 13.5)
    assert line.begin(13.5) == [Begin("b", 1.5, joined=False)]


def test_who_joins_later_has_missed_nothing():
    line = StartingLine(["a"])
    line.ready("a", 10.0)
    line.begin(10.0)
    line.ready("b", 40.0)
    assert line.begin(40.0) == [Begin("b", 30.0, joined=True)]


def test_who_has_not_heard_the_answer_is_told_again():
    line = StartingLine(["a"])
    line.ready("a", 10.0)
    line.begin(10.0)
    line.ready("a", 11.0)
    assert line.begin(11.0) == [Begin("a", 1.0, joined=False)]
