"""The API key and the bearer token as header lines."""

from __future__ import annotations

import pytest

from config.errors import ConfigError
from config.settings import settings_from
from loadgen.api_access import api_headers


@pytest.mark.parametrize(
    ("variables", "lines"),
    [
        ({}, ""),
        ({"API_KEY": "k"}, "x-api-key: k\r\n"),
        ({"API_AUTH": "bearer", "API_BEARER_TOKEN": "t"}, "Authorization: Bearer t\r\n"),
        ({"API_BEARER_TOKEN": "t"}, ""),
        (
            {"API_KEY": "k", "API_AUTH": "bearer", "API_BEARER_TOKEN": "t"},
            "x-api-key: k\r\nAuthorization: Bearer t\r\n",
        ),
    ],
)
def test_lines(variables, lines):
    assert api_headers(settings_from(variables)) == lines


@pytest.mark.parametrize("secret", ["a\r\nX-Evil: 1", "caf\u00e9"])
def test_what_cannot_be_a_header_is_refused_without_being_shown(secret):
    with pytest.raises(ConfigError, match="API_KEY: it has characters") as raised:
        api_headers(settings_from({"API_KEY": secret}))
    assert secret not in str(raised.value)
