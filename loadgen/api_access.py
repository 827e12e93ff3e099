"""What an API wants to see before it lets a request in: a key of its usage plan, a bearer token, a signature."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from collections.abc import Callable, Mapping

from botocore.credentials import ReadOnlyCredentials

from config.errors import ConfigError
from config.settings import Settings
from loadgen.bearer import given_token, token_of_command
from loadgen.credentials import find_credentials
from loadgen.renewal import Lease, RenewalError, Secret
from loadgen.signing import Signer
from loadgen.transport import Endpoint

Authorize = Callable[[str, str, Mapping[str, str], bytes], str]
"""(method, path with query, headers to be signed, body) -> header lines that say who calls."""

_AWS_HOST = re.compile(r"(?:^|[.-])(execute-api|lambda-url)\.([a-z]{2,}(?:-[a-z]+)+-\d+)\.")


def access_problems(settings: Settings) -> list[str]:
    """What is wrong with the key or the token, without showing it; empty where all is well."""
    problems = []
    key = settings.api_key
    if key is not None and not _fits_header(key.get_secret_value()):
        problems.append("API_KEY: it has characters that no header may have, such as a line break")
    if settings.api_auth == "bearer":
        if settings.api_bearer_token is not None:
            try:
                given_token(settings.api_bearer_token.get_secret_value())
            except RenewalError as unusable:
                problems.append(f"API_BEARER_TOKEN: {unusable}")
        elif settings.api_bearer_command is not None:
            try:
                words = shlex.split(settings.api_bearer_command.get_secret_value())
            except ValueError as malformed:
                problems.append(f"API_BEARER_COMMAND: it is not a command line: {malformed}")
            else:
                if not words or shutil.which(words[0]) is None:
                    problems.append("API_BEARER_COMMAND: there is no such program")
    return problems


def check_access(settings: Settings) -> None:
    """Check all that requests to an API need from this machine, by asking for it once. Raises ConfigError."""
    problems = access_problems(settings)
    if not problems and settings.api_auth == "bearer":
        variable = "API_BEARER_COMMAND" if settings.api_bearer_token is None else "API_BEARER_TOKEN"
        try:
            lease = bearer_token(settings)
        except RenewalError as unusable:
            problems.append(f"{variable}: {unusable}")
        else:
            if lease.expires_at is not None and lease.expires_at <= time.time():
                problems.append(f"{variable}: the token has expired")
    elif not problems and settings.api_auth == "iam":
        try:
            find_credentials(settings.target, settings.profile)
        except RenewalError as missing:
            problems.append(f"AWS_PROFILE: AWS credentials: {missing}; API_AUTH=iam signs requests")
    if problems:
        raise ConfigError(problems)


def key_line(settings: Settings) -> str:
    """The header line of the API key; empty without one."""
    return "" if settings.api_key is None else f"x-api-key: {settings.api_key.get_secret_value()}\r\n"


def bearer_token(settings: Settings) -> Lease[str]:
    """The token that the settings give, or that their command prints now. Raises RenewalError."""
    if settings.api_bearer_token is not None:
        return given_token(settings.api_bearer_token.get_secret_value())
    assert settings.api_bearer_command is not None
    return token_of_command(settings.api_bearer_command.get_secret_value())


def by_token(token: Secret[str]) -> Authorize:
    """With a bearer token (RFC 6750, 2.1)."""
    return lambda method, path, headers, body: f"Authorization: Bearer {token.value}\r\n"


def by_signature(endpoint: Endpoint, region: str, credentials: Secret[ReadOnlyCredentials]) -> Authorize:
    """With Signature Version 4. `region`: where the host's name does not say it.

    The ids of a request are not signed: what lies between may change them, and AWS asks only for Host, Content-Type
    and X-Amz-* (AWS documentation, "Create a signed AWS API request"; X-Amzn-* is none of these).
    """
    service, region = signing_scope(endpoint.host, region)
    signer = Signer(service, region, credentials)
    origin = f"{endpoint.scheme}://{endpoint.authority}"

    return lambda method, path, headers, body: signer.lines(method, origin + path, headers, body)


def signing_scope(host: str, region: str) -> tuple[str, str]:
    """(service, region) that requests to a host are signed for; `region` where the name does not say it.

    `<id>.execute-api.<region>.amazonaws.com` and the names of its VPC endpoints are API Gateway's,
    `<id>.lambda-url.<region>.on.aws` Lambda's (AWS documentation, "Invoking a REST API", "Invoking Lambda function
    URLs"). Anything else is a custom domain of API Gateway, or the sandbox.
    """
    found = _AWS_HOST.search(host)
    if found is None:
        return "execute-api", region
    return ("lambda" if found[1] == "lambda-url" else found[1]), found[2]


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable()
