"""What failures are called in Locust's statistics: few names, however many messages there are."""

from __future__ import annotations

import pytest

from loadgen.failure_names import MOST_NAMES, OTHERS, FailureNames

ID = "5b5e0fe6-4c2f-4c07-9d0a-1d1f7d3b2a01"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("FunctionError Unhandled: KeyError: 'vote 17'", "FunctionError Unhandled: KeyError: 'vote <n>'"),
        ("FunctionError Unhandled: E: took 1,234.5 ms", "FunctionError Unhandled: E: took <n> ms"),
        (f"FunctionError Handled: E: {ID} at 2026-11-21T10:00:00.123Z", "FunctionError Handled: E: <id> at <id>"),
        ("FunctionError Unhandled: E: no key a1b2c3 of user17", "FunctionError Unhandled: E: no key <id> of user<n>"),
        ("HTTP 502 Bad Gateway", "HTTP 502 Bad Gateway"),
        ("check failed: time under 500ms", "check failed: time under 500ms"),
    ],
)
def test_only_what_a_function_says_is_masked(error, name):
    assert FailureNames().name_of(error) == name


def test_messages_that_differ_in_words_come_to_so_many_names_and_one_more():
    names = FailureNames()
    words = ["".join(chr(ord("a") + int(digit)) for digit in str(number)) for number in range(100_000)]
    given = {names.name_of(f"FunctionError Unhandled: KeyError: {word}") for word in words}
    assert len(given) == MOST_NAMES + 1
    assert OTHERS in given
    assert names.name_of("FunctionError Unhandled: KeyError: a") != OTHERS, "one that is known stays known"
