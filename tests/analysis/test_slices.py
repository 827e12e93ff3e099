import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.slices import DIGITS, ENDED, OTHER, Slice, comes_of, cut, plan


def test_a_run_that_fits_is_one_slice() -> None:
    assert plan({100: 10, 105: 20}, 100, 160, room=800) == [Slice(100, 160)]


def test_a_window_without_any_expectation_is_one_slice() -> None:
    assert plan({}, 100, 160, room=800) == [Slice(100, 160)]


def test_slices_hold_no_more_than_their_share_and_meet_in_a_common_second() -> None:
    # 100 a second, 800 rows to a slice: eight seconds each, the shared one counted on both sides
    assert plan(dict.fromkeys(range(1000, 1020), 100), 1000, 1021, room=800) == [
        Slice(1000, 1007),
        Slice(1007, 1014),
        Slice(1014, 1021),
    ]


def test_a_second_over_the_limit_does_not_keep_the_others_together() -> None:
    assert plan({100: 10, 101: 5000, 102: 10}, 100, 110, room=800) == [Slice(100, 101), Slice(101, 110)]


@given(
    st.dictionaries(st.integers(1000, 1100), st.integers(0, 500), max_size=60),
    st.integers(10, 2000),
)
def test_slices_are_a_chain_over_the_whole_window(counts: dict[int, int], room: int) -> None:
    slices = plan(counts, 1000, 1101, room)
    assert slices[0].start == 1000 and slices[-1].end == 1101
    assert all(left.end == right.start for left, right in itertools.pairwise(slices))


@given(st.dictionaries(st.integers(1000, 1100), st.integers(0, 100), max_size=60))
def test_no_slice_of_more_than_a_second_is_expected_to_overflow(counts: dict[int, int]) -> None:
    for one in plan(counts, 1000, 1101, room=1000):
        expected = sum(count for second, count in counts.items() if one.start <= second <= one.end)
        assert expected <= 1000 or one.end - one.start == 1


def test_a_long_slice_is_cut_in_halves_that_share_a_second() -> None:
    assert cut(Slice(100, 110)) == [Slice(100, 105), Slice(105, 110)]


def test_a_short_slice_is_cut_by_digits_and_the_rest() -> None:
    assert [part.request_prefix for part in cut(Slice(100, 101))] == [*DIGITS, OTHER]
    assert [part.request_prefix for part in cut(Slice(100, 101, "3"))] == [*(f"3{digit}" for digit in DIGITS), "3_"]


def test_what_names_no_request_is_cut_by_its_stream() -> None:
    parts = cut(Slice(100, 101, OTHER))
    assert {part.request_prefix for part in parts} == {OTHER}
    assert [part.stream_prefix for part in parts] == [*DIGITS, OTHER]


def test_cutting_ends() -> None:
    assert cut(Slice(100, 101, OTHER, OTHER)) == []
    assert cut(Slice(100, 101, OTHER, "3f0a")) == []
    assert cut(Slice(100, 101, "3f0a")) == []
    assert cut(Slice(100, 101, "3" + ENDED)) == []
    assert cut(Slice(100, 101, OTHER, "3" + ENDED)) == []


@pytest.mark.parametrize(
    "part",
    [Slice(100, 110), Slice(102, 105), Slice(100, 101), Slice(101, 102, "3f"), Slice(101, 102, OTHER, "0")],
    ids=str,
)
def test_what_cutting_gives_comes_of_the_whole(part: Slice) -> None:
    assert comes_of(part, Slice(100, 110))


@pytest.mark.parametrize("part", [Slice(100, 111), Slice(101, 104), Slice(104, 106), Slice(99, 100)], ids=str)
def test_another_stretch_does_not_come_of_it(part: Slice) -> None:
    assert not comes_of(part, Slice(100, 110))


def test_a_part_by_other_digits_does_not_come_of_it() -> None:
    assert not comes_of(Slice(100, 101, "4a"), Slice(100, 101, "3"))
    assert not comes_of(Slice(100, 101), Slice(100, 101, "3"))


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_halving_never_loses_a_second_and_always_ends(start: int, length: int) -> None:
    pending, seconds = [Slice(start, start + length)], set()
    while pending:
        one = pending.pop()
        if one.request_prefix:
            seconds.update((one.start, one.end))
        else:
            pending += [part for part in cut(one) if part.request_prefix in ("", "0")]
    assert seconds == set(range(start, start + length + 1))


def test_an_empty_slice_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no second"):
        Slice(5, 5)
