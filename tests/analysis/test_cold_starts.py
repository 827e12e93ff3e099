"""Where cold starts belong."""

from collections import Counter
from random import Random

from analysis.cold_starts import cold_start_shares


def test_cold_starts_belong_to_the_step_of_concurrency_that_needed_a_new_environment(build):
    for number in range(6):  # one at a time, the first one cold
        build.invocation(1.0 + number, 100.0, request_id=f"a{number}", init_ms=None if number else 200.0)
    for number in range(4):  # four at once, of which one environment is there
        build.invocation(10.0 + number / 100, 500.0, request_id=f"b{number}", init_ms=200.0 if number else None)
    shares = cold_start_shares(build.joined())["place-vote"]
    told = {step["at_least"]: (step["invocations"], step["cold_starts"]) for step in shares["by_concurrency"]}
    # the cold ones of the burst began with their init, before the warm one
    assert told == {1: (7, 2), 2: (2, 2), 4: (1, 0)}
    assert [step["cold_start_rate"] for step in shares["by_concurrency"]] == [2 / 7, 1.0, 0.0]


def test_over_time_the_parts_add_up_to_the_whole(build):
    for number in range(50):
        build.invocation(1.0 + number, 20.0, request_id=f"l{number}", init_ms=None if number > 4 else 100.0)
    parts = cold_start_shares(build.joined())["place-vote"]["over_time"]
    assert sum(part["invocations"] for part in parts) == 50
    assert [part["cold_starts"] for part in parts][:2] == [5, 0]
    assert parts[0]["from_s"] == 0


def test_functions_without_a_cold_start_are_not_listed(build):
    build.invocation()
    assert cold_start_shares(build.joined()) == {}


def test_each_invocation_counts_where_counting_one_by_one_puts_it(build):
    """300 of two functions, at whole eighths of a second, so that many begin and end together."""
    random = Random(3)
    for number in range(300):
        columns = {"function": random.choice(("a", "b")), "init_ms": random.choice((None, None, 125.0))}
        build.invocation(random.randrange(400) / 8, random.randrange(40) * 125.0, request_id=f"l{number}", **columns)
    shares = cold_start_shares(build.joined())
    assert list(shares) == ["a", "b"]
    for function, share in shares.items():
        rows = [row for row in build.tables["invocations"] if row["function"] == function]
        spans = [(row["started_at"] - (row["init_ms"] or 0) / 1000, row["reported_at"], row["init_ms"]) for row in rows]
        steps, parts, first = Counter(), Counter(), min(spans)[0]
        width_s = (max(spans)[0] - first) / 10
        for begun_at, _, init_ms in spans:
            busy = sum(start <= begun_at for start, _, _ in spans) - sum(end <= begun_at for _, end, _ in spans)
            steps[2 ** (max(busy, 1).bit_length() - 1), init_ms is not None] += 1
            parts[min(int((begun_at - first) / width_s), 9), init_ms is not None] += 1
        told = {step["at_least"]: (step["invocations"], step["cold_starts"]) for step in share["by_concurrency"]}
        assert told == {step: (steps[step, True] + steps[step, False], steps[step, True]) for step, _ in steps}
        told = [(part["invocations"], part["cold_starts"]) for part in share["over_time"]]
        assert told == [(parts[part, True] + parts[part, False], parts[part, True]) for part in range(10)]
