"""What AWS means when it refuses a call for who makes it: a missing permission, expired or unknown credentials.

explain(error, profile="work")
-> Refused("not allowed: lambda:GetAlias on arn:aws:lambda:...:function:x (GetAlias)",
           "ask for a policy that allows lambda:GetAlias on it", "lambda:GetAlias")
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "NotAuthorized", "403"}
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError, TokenRetrievalError)
_OF_HEAD = {"HeadBucket": "s3:ListBucket", "HeadObject": "s3:GetObject"}
"""Calls whose refusal has no text -> the action that they need (AWS, Service Authorization Reference)."""
_SAID = re.compile(r"not authorized to perform: (?P<action>[\w-]+:\w+)(?: on resource: (?P<resource>\S+))?")


@dataclass(frozen=True)
class Refused:
    """A refusal, in words that say what to do."""

    message: str
    hint: str
    action: str | None = None
    """The IAM action that is missing, where AWS names it: `logs:StartQuery`."""


def explain(error: ClientError | BotoCoreError, profile: str | None = None) -> Refused | None:
    """What the refusal means and what to do; None where it has nothing to do with who calls.

    `profile`: the AWS profile in use, for the hint.
    """
    if isinstance(error, _NO_CREDENTIALS):
        return Refused(f"no AWS credentials: {error}", _renewal(profile))
    if not isinstance(error, ClientError):
        return None
    told = error.response.get("Error", {})
    code, text = str(told.get("Code", "")), str(told.get("Message", ""))
    # The answer to a HEAD request has no body, so that an expired token is a bare 400 there.
    if code in _EXPIRED or (code == "400" and error.operation_name.startswith("Head")):
        return Refused(f"the AWS credentials have expired ({error.operation_name}: {text})", _renewal(profile))
    if code in _UNKNOWN:
        return Refused(f"AWS does not accept the credentials: {code}: {text}", _renewal(profile))
    if code not in _DENIED:
        return None
    said = _SAID.search(text)
    action = _OF_HEAD.get(error.operation_name) if said is None else said["action"]
    if action is None:
        return Refused(
            f"not allowed: {error.operation_name}: {text}", f"ask for a policy that allows {error.operation_name}"
        )
    on = "" if said is None else f" on {(said['resource'] or '*').rstrip('.,')}"
    return Refused(
        f"not allowed: {action}{on} ({error.operation_name})", f"ask for a policy that allows {action}", action
    )


def _renewal(profile: str | None) -> str:
    login = f"aws sso login --profile {profile}" if profile else "aws sso login"
    return (
        f"get new ones (`{login}`, or new AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN); "
        "`aws sts get-caller-identity` shows whether they are taken; then run the command again"
    )
