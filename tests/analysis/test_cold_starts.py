"""Where cold starts belong."""

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
