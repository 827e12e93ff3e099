from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

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


@pytest.mark.parametrize(
    ("code", "message", "said", "hint"),
    [
        (
            "AccessDeniedException",
            "User: u is not authorized to perform: logs:StartQuery on resource: g because no policy",
            "not allowed: logs:StartQuery on g (StartQuery)",
            "have control/policies/analysis.json attached",
        ),
        ("ExpiredTokenException", "it is expired", "the AWS credentials have expired", "aws sso login"),
        ("UnrecognizedClientException", "invalid", "AWS does not accept the credentials", "aws sso login"),
    ],
)
def test_a_refused_caller_is_told_what_to_do(code: str, message: str, said: str, hint: str) -> None:
    refused = errors.refused_caller(ClientError({"Error": {"Code": code, "Message": message}}, "StartQuery"))
    assert refused is not None
    assert refused.message.startswith(said)
    assert refused.hint is not None
    assert hint in refused.hint


def test_other_refusals_are_not_about_who_calls() -> None:
    error = ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no group"}}, "StartQuery")
    assert errors.refused_caller(error) is None
