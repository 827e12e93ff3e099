"""AWS Signature Version 4.

botocore takes about 50 us to sign a request, most of it for what is the same every time. Here the canonical form of
the URLs met last is kept, and the key of the day; what is left for a request is two hashes and an HMAC: about 7 us.
The tests hold every signature against botocore's own.

Steps and names: AWS documentation, "Create a signed AWS API request".
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

import botocore.session
from botocore.auth import SIGNED_HEADERS_BLACKLIST, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import normalize_url_path

from loadgen.renewal import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"
_KEPT_URLS = 1000


class _Target(NamedTuple):
    """What of a signature depends on the URL only."""

    host: str
    path: str
    query: str


class Signer:
    """Signs requests to one service in one region; not for S3, whose rules differ."""

    def __init__(
        self,
        service: str,
        region: str,
        credentials: Secret[ReadOnlyCredentials],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`credentials` are read anew for each request. `clock`: epoch seconds."""
        self._service = service
        self._region = region
        self._credentials = credentials
        self._clock = clock
        self._targets: dict[str, _Target] = {}
        self._second = -1
        self._at = ""
        self._day = ""
        self._key_of = ("", "")
        self._key = b""

    def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """`headers` with those of the signature. The Host header follows from the URL and is not among them."""
        credentials = self._credentials.value
        target = self._targets.get(url) or self._new_target(url)
        second = int(self._clock())
        if second != self._second:
            self._second, self._at = second, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._day = self._at[:8]
        signed = {**headers, "X-Amz-Date": self._at}
        if credentials.token:
            signed["X-Amz-Security-Token"] = credentials.token
        by_name = {"host": target.host}
        for name, value in signed.items():
            lower = name.lower()
            if lower not in _UNSIGNED:
                by_name[lower] = " ".join(value.split())
        names = sorted(by_name)
        lines = [f"{name}:{by_name[name]}\n" for name in names]
        signed_names = ";".join(names)
        canonical = (
            f"{method}\n{target.path}\n{target.query}\n{''.join(lines)}\n{signed_names}\n{sha256(body).hexdigest()}"
        )
        scope = f"{self._day}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{self._at}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key_for(credentials.secret_key), text.encode(), "sha256").hex()
        signed["Authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={signed_names}, "
            f"Signature={signature}"
        )
        return signed

    def _new_target(self, url: str) -> _Target:
        # The library's urlsplit takes longer than all the rest.
        base, _, query = url.partition("?")
        scheme, _, rest = base.partition("://")
        authority, slash, path = rest.partition("/")
        # Encoded a second time: AWS wants it of every service but S3.
        path = quote(normalize_url_path(slash + path), safe="/~")
        if query:
            pairs = sorted([pair.partition("=")[::2] for pair in query.split("&")])
            query = "&".join([f"{key}={value}" for key, value in pairs])
        target = _Target(_host(scheme, authority), path, query)
        if len(self._targets) >= _KEPT_URLS:
            # Where ids make every URL another one, nothing is worth keeping; the few that come again are soon back.
            self._targets.clear()
        self._targets[url] = target
        return target

    def _key_for(self, secret_key: str) -> bytes:
        """The signing key of the day."""
        if self._key_of != (secret_key, self._day):
            key = f"AWS4{secret_key}".encode()
            for part in (self._day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_of = key, (secret_key, self._day)
        return self._key


@lru_cache(maxsize=100)
def _host(scheme: str, authority: str) -> str:
    """The Host header as it is signed."""
    request = AWSRequest("GET", f"{scheme}://{authority}/")
    return str(SigV4Auth(None, "", "").headers_to_sign(request)["host"])


_UNSIGNED = frozenset(SIGNED_HEADERS_BLACKLIST)


def default_endpoint(service: str, region: str, profile: str | None) -> str:
    """Where botocore would send requests: the region's endpoint, in its own partition, or what its configuration says.

    `https://lambda.eu-west-1.amazonaws.com`. Nothing is contacted and no credentials are looked for.
    """
    session = botocore.session.Session(profile=profile)
    client = session.create_client(service, region, aws_access_key_id="none", aws_secret_access_key="none")
    return str(client.meta.endpoint_url)
