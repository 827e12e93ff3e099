"""What an API wants to see before it lets a request in: a key of its usage plan, a bearer token."""

from __future__ import annotations

from config.errors import ConfigError
from config.settings import Settings


def api_headers(settings: Settings) -> str:
    """Header lines of the API key and the bearer token, where the settings have them; empty where they have none.

    Raises ConfigError, without the value, for one that cannot be a header.
    """
    lines: list[str] = []
    problems: list[str] = []
    key = settings.api_key
    token = settings.api_bearer_token if settings.api_auth == "bearer" else None
    for variable, secret, prefix in (
        ("API_KEY", key, "x-api-key: "),
        ("API_BEARER_TOKEN", token, "Authorization: Bearer "),
    ):
        if secret is None:
            continue
        value = secret.get_secret_value()
        if value.isascii() and value.isprintable():
            lines.append(f"{prefix}{value}\r\n")
        else:
            problems.append(f"{variable}: it has characters that no header may have, such as a line break")
    if problems:
        raise ConfigError(problems)
    return "".join(lines)
