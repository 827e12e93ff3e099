"""AWS Signature Version 4 by botocore's signer, with the credentials of botocore's chain.

botocore costs about 50 us a request: fine for a share of direct invokes, and never wrong.
"""

from __future__ import annotations

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials


class CredentialsNotFoundError(Exception):
    """botocore's chain (environment, profile, container, instance) has no credentials."""


class Signer:
    """Signs requests to one service in one region."""

    def __init__(self, service: str, region: str, credentials: Credentials) -> None:
        self._service = service
        self._region = region
        self._credentials = credentials

    def headers(self, method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """`headers` with those of the signature. The Host header follows from the URL and is not among them."""
        # Taken anew each time: this is where botocore renews credentials that are about to expire.
        frozen: ReadOnlyCredentials = self._credentials.get_frozen_credentials()
        request = AWSRequest(method, url, headers=headers, data=body)
        SigV4Auth(frozen, self._service, self._region).add_auth(request)
        return dict(request.headers.items())


def find_credentials(target: str, profile: str | None) -> Credentials:
    """Dummies for the sandbox, whatever the caller has; else what botocore's chain finds.

    Raises CredentialsNotFoundError.
    """
    if target == "sandbox":
        return Credentials("sandbox", "sandbox")
    credentials = botocore.session.Session(profile=profile).get_credentials()
    if credentials is None:
        raise CredentialsNotFoundError("no AWS credentials found (environment, AWS_PROFILE, container or instance)")
    return credentials


def default_endpoint(service: str, region: str, profile: str | None) -> str:
    """Where botocore would send requests: the region's endpoint, in its own partition, or what its configuration says.

    `https://lambda.eu-west-1.amazonaws.com`. Nothing is contacted and no credentials are looked for.
    """
    session = botocore.session.Session(profile=profile)
    client = session.create_client(service, region, aws_access_key_id="none", aws_secret_access_key="none")
    return str(client.meta.endpoint_url)
