"""boto3 clients made from the settings."""

import pytest
from botocore.exceptions import EndpointConnectionError

from config import aws
from config.settings import load_settings
from tests.ports import NOBODY, refusing_port


@pytest.mark.parametrize("target", ["sandbox", "emulator"])
def test_this_machine_is_never_reached_through_a_proxy(monkeypatch, target):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{NOBODY}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with refusing_port() as port:
        settings = load_settings(
            {"TARGET": target, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "x-1"}, None
        )
        client = aws.client(settings, "sts", retries={"total_max_attempts": 1})
        # Of the address itself; a proxy's would be a ProxyConnectionError.
        with pytest.raises(EndpointConnectionError, match=f"127.0.0.1:{port}"):
            client.get_caller_identity()
