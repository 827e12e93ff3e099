from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import join


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, seconds: dict[str, list[float]]) -> tuple[int, str]:
    """The benchmark with ways that take so long, one figure a round."""
    left = {way: iter(each) for way, each in seconds.items()}

    def measure(way: str, *_: object) -> dict[str, object]:
        return {"way": way, "seconds": next(left[way]), "cpu_s": 1.0, "peak_memory_mb": 1, "matched": 10}

    monkeypatch.setattr(join, "measure", measure)
    done = CliRunner().invoke(join.main, ["--rows", "10", *arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize(("ours", "code"), [(12.0, 0), (12.1, 1)])
def test_more_than_a_fifth_longer_than_the_statement_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, ours: float, code: int
) -> None:
    seconds = {join.OURS: [ours], "plain pandas": [40.0], join.STATEMENT: [10.0]}
    assert run(monkeypatch, seconds=seconds)[0] == code


def test_of_each_way_the_quickest_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {join.OURS: [20.0, 11.0], "plain pandas": [40.0, 40.0], join.STATEMENT: [10.0, 15.0]}
    code, output = run(monkeypatch, "--rounds", "2", seconds=seconds)
    assert (code, '"seconds": 11.0' in output, '"seconds": 10.0' in output) == (0, True, True)


def test_ours_alone_is_held_against_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--only", join.OURS, seconds={join.OURS: [99.0]})[0] == 0
