from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from analysis import formatting as form


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0, "0"),
        (0.5, "0.50"),
        (0.000033, "<0.0001"),
        (0.0342, "0.034"),
        (3.456, "3.46"),
        (51.49, "51.5"),
        (12345.6, "12,346"),
        (5.0, "5"),
    ],
)
def test_decimal(value: float | None, written: str) -> None:
    assert form.decimal(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "–"), (0, "0.0"), (48.249, "48.2"), (999.94, "999.9"), (999.96, "1,000"), (1034.8, "1,035")],
)
def test_milliseconds(value: float | None, written: str) -> None:
    assert form.milliseconds(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0402, "4.02 %"),
        (0.00001, "<0.01 %"),
        (0.99999, ">99.99 %"),
    ],
)
def test_a_small_share_never_reads_as_nothing_nor_a_large_one_as_all(value: float | None, written: str) -> None:
    assert form.share(value) == written


@pytest.mark.parametrize(("part", "whole", "ratio"), [(1, 4, 0.25), (None, 4, None), (0, 0, None), (1, None, None)])
def test_ratio_of_nothing_is_not_zero(part: float | None, whole: float | None, ratio: float | None) -> None:
    assert form.ratio(part, whole) == ratio


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(None, "–"), (42.46, "42.5 s"), (59.94, "59.9 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_timespan(seconds: float | None, written: str) -> None:
    assert form.timespan(seconds) == written


@pytest.mark.parametrize("at", [1795255223.417, "2026-11-21T10:00:23.417Z", "2026-11-21T11:00:23.417+01:00"])
def test_epoch_seconds_and_iso_texts_give_the_same_time(at: float | str) -> None:
    assert form.time_of_day(at) == "10:00:23.417"


@pytest.mark.parametrize("at", [None, "", "yesterday", 1e300])
def test_what_is_no_time_is_nothing(at: float | str | None) -> None:
    assert form.date_and_time(at) == "–"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("two\nlines\r\n", "two lines"),
        ("evil\u202egpj.exe", "evil gpj.exe"),
        ("a\u2028b", "a b"),
        ("", "–"),
        (None, "–"),
        (0, "0"),
    ],
)
def test_no_control_character_stays_visible_text(hostile: object, shown: str) -> None:
    assert form.visible(hostile) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("place-vote", "place-vote"),
        ("orders-service-archive", "orders-service-archive"),
        ("orders-service-live-archive", "orders-serv…ive-archive"),
        (None, "–"),
    ],
)
def test_of_a_long_name_the_middle_is_left_out(name: str | None, shown: str) -> None:
    assert form.short_name(name, 23) == shown


def test_long_text_ends_in_an_ellipsis() -> None:
    assert form.visible("abcdef", 4) == "abc…"


@pytest.mark.parametrize("write", [form.count, form.decimal, form.milliseconds, form.share, form.usd, form.timespan])
@pytest.mark.parametrize("value", [1e300, -1e300, 1e15, math.inf, -math.inf, math.nan])
def test_absurd_numbers_are_short_and_those_that_are_none_are_nothing(
    write: Callable[[float | None], str], value: float
) -> None:
    written = write(value)
    assert len(written) < 15
    assert (written == form.NOTHING) == (not math.isfinite(value))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u200b\u2060", "–"),
        ("a\ud800b\uffffc", "a b c"),
        ("x" * 2_000_000, "x" * 999 + "…"),
        ("a\U000e0041b", "a b"),
        ("👩\u200d🚀 é", "👩\u200d🚀 é"),
    ],
)
def test_what_cannot_be_seen_or_written_is_left_out(text: str, shown: str) -> None:
    assert form.visible(text) == shown
