from __future__ import annotations

import pytest

from analysis import errors


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.UsageError, 2),
        (errors.TargetError, 2),
        (errors.IncompleteError, 3),
        (errors.NoRowsError, 3),
        (errors.PullError, 3),
        (errors.DataFormatError, 3),
    ],
)
def test_every_error_has_the_exit_code_of_its_branch(kind: type[errors.AnalysisError], exit_code: int) -> None:
    assert kind("x").exit_code == exit_code


def test_an_error_without_a_hint_says_just_what_is_wrong() -> None:
    assert str(errors.NoRowsError("no rows")) == "no rows"


def test_a_hint_follows_on_a_line_of_its_own() -> None:
    assert (
        str(errors.TargetError("no such log group", "check LOG_GROUPS")) == "no such log group\nhint: check LOG_GROUPS"
    )
