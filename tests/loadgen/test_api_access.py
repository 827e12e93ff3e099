"""What opens an API: key, token, signature."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from botocore.credentials import ReadOnlyCredentials

from config.errors import ConfigError
from config.settings import settings_from
from loadgen.api_access import access_problems, by_signature, by_token, check_access, key_line, signing_scope
from loadgen.renewal import Lease
from loadgen.transport import parse_endpoint
from tests.loadgen.test_bearer import jwt
from tests.loadgen.test_signing import botocore_authorization

CREDENTIALS = ReadOnlyCredentials("AKID", "secret", "session-token")


@pytest.mark.parametrize(("variables", "line"), [({}, ""), ({"API_KEY": "k"}, "x-api-key: k\r\n")])
def test_key(variables, line):
    assert key_line(settings_from(variables)) == line


def test_the_token_is_the_one_that_counts_now():
    token = SimpleNamespace(value="first")
    authorize = by_token(token)
    assert authorize("GET", "/", {}, b"") == "Authorization: Bearer first\r\n"
    token.value = "second"
    assert authorize("GET", "/", {}, b"") == "Authorization: Bearer second\r\n"


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("abc123.execute-api.eu-west-1.amazonaws.com", ("execute-api", "eu-west-1")),
        ("abc123.execute-api.cn-north-1.amazonaws.com.cn", ("execute-api", "cn-north-1")),
        ("abc123.execute-api.us-gov-west-1.amazonaws.com", ("execute-api", "us-gov-west-1")),
        ("abc123-vpce-0a1b.execute-api.eu-west-1.amazonaws.com", ("execute-api", "eu-west-1")),
        ("vpce-0a1b-c2.execute-api.eu-west-1.vpce.amazonaws.com", ("execute-api", "eu-west-1")),
        ("abcdef.lambda-url.eu-central-1.on.aws", ("lambda", "eu-central-1")),
        ("api.example.com", ("execute-api", "us-east-2")),
        ("127.0.0.1", ("execute-api", "us-east-2")),
    ],
)
def test_service_and_region_follow_from_the_host(host, scope):
    assert signing_scope(host, "us-east-2") == scope


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("https://abc123.execute-api.eu-west-1.amazonaws.com/prod", "/vote"),
        ("https://abc123.execute-api.eu-west-1.amazonaws.com/prod", "/vote/a%20b%2Fc?z=1&a=%C3%A9&a=&b"),
        ("https://abcdef.lambda-url.eu-central-1.on.aws", "/"),
        ("http://127.0.0.1:4566/prod", "/vote/~x_y-z.1"),
    ],
)
@pytest.mark.parametrize(("headers", "body"), [({}, b""), ({"Content-Type": "application/json"}, b'{"a":"b"}')])
def test_requests_are_signed_as_botocore_signs_them(base_url, path, headers, body):
    endpoint = parse_endpoint(base_url)
    lines = by_signature(endpoint, "us-east-1", Lease(CREDENTIALS))("POST", endpoint.base_path + path, headers, body)
    found = dict(re.findall(r"(\S+): (.*)\r\n", lines))
    assert found.keys() == {"X-Amz-Date", "X-Amz-Security-Token", "Authorization"}
    at = datetime.strptime(found["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    service, region = signing_scope(endpoint.host, "us-east-1")
    expected = botocore_authorization(
        service, region, CREDENTIALS, at, "POST", f"{endpoint.scheme}://{endpoint.authority}{endpoint.base_path}{path}",
        dict(headers), body,
    )  # fmt: skip
    assert found["Authorization"] == expected


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"API_KEY": "s3cret\r\nX-Evil: 1"}, "API_KEY: it has characters"),
        ({"API_AUTH": "bearer", "API_BEARER_TOKEN": "s3cret caf\u00e9"}, "API_BEARER_TOKEN: .* characters"),
        ({"API_AUTH": "bearer", "API_BEARER_COMMAND": "no-such-s3cret x"}, "API_BEARER_COMMAND: there is no such"),
        ({"API_AUTH": "bearer", "API_BEARER_COMMAND": "sh 's3cret"}, "API_BEARER_COMMAND: it is not a command line"),
    ],
)
def test_what_cannot_work_is_refused_without_being_shown(variables, problem):
    [found] = access_problems(settings_from(variables))
    assert re.match(problem, found) and "s3cret" not in found


def test_a_token_that_has_expired_is_refused_at_the_start():
    token = jwt({"exp": 1_700_000_000})
    with pytest.raises(ConfigError, match="API_BEARER_TOKEN: the token has expired") as raised:
        check_access(settings_from({"API_AUTH": "bearer", "API_BEARER_TOKEN": token}))
    assert token not in str(raised.value)


def test_all_problems_come_together():
    assert len(access_problems(settings_from({"API_KEY": "\n", "API_AUTH": "bearer", "API_BEARER_TOKEN": "a b"}))) == 2


@pytest.mark.parametrize(
    "variables",
    [{}, {"API_BEARER_TOKEN": "a b"}, {"API_AUTH": "iam"}, {"API_AUTH": "bearer", "API_BEARER_COMMAND": "sh -c true"}],
)
def test_what_may_work_is_no_problem(variables):
    assert access_problems(settings_from(variables)) == []
