"""AWS Signature Version 4.

botocore takes about 50 us to sign a request, most of it for what is the same every time. Here all of it that is the
same for a second, the body apart, is kept, and the key of the day; what is left for a request is two hashes and an
HMAC: about 3 us. The tests hold every signature against botocore's own.

Steps and names: AWS documentation, "Create a signed AWS API request".
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple
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


class _Draft(NamedTuple):
    """A signature without its body: the same for a second."""

    canonical: str
    """The canonical request; the hash of the body is to follow."""
    to_sign: str
    """What is signed; the hash of the canonical request is to follow."""
    lines: str
    """Header lines; the signature is to follow."""


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
        self._drafts: dict[tuple[Any, ...], _Draft] = {}
        """Of this second, with these credentials."""
        self._second = -1
        self._at = ""
        self._signs_for: ReadOnlyCredentials | None = None
        self._key_of = ("", "")
        self._mac: hmac.HMAC

    def lines(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
        """The header lines that sign a request: X-Amz-Date, X-Amz-Security-Token where there is one, Authorization.

        `headers`: those of the request that are signed with it. The Host header follows from the URL.
        """
        credentials, second = self._credentials.value, int(self._clock())
        if second != self._second or credentials != self._signs_for:
            self._begin(second, credentials)
        asked = (method, url, *headers.items())
        draft = self._drafts.get(asked)
        if draft is None:
            draft = self._drafts[asked] = self._new_draft(method, url, headers, credentials)
        canonical = draft.canonical + sha256(body).hexdigest()
        mac = self._mac.copy()
        mac.update((draft.to_sign + sha256(canonical.encode()).hexdigest()).encode())
        return f"{draft.lines}{mac.hexdigest()}\r\n"

    def _begin(self, second: int, credentials: ReadOnlyCredentials) -> None:
        """A second begins, or credentials have been renewed."""
        self._second, self._signs_for = second, credentials
        self._at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        self._drafts.clear()
        key_of = (credentials.secret_key, self._at[:8])
        if key_of != self._key_of:
            key = f"AWS4{credentials.secret_key}".encode()
            for part in (self._at[:8], self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._mac, self._key_of = hmac.new(key, digestmod="sha256"), key_of

    def _new_draft(self, method: str, url: str, headers: Mapping[str, str], credentials: ReadOnlyCredentials) -> _Draft:
        target = self._targets.get(url) or self._new_target(url)
        added = {"X-Amz-Date": self._at}
        if credentials.token:
            added["X-Amz-Security-Token"] = credentials.token
        by_name = {"host": target.host}
        for name, value in (*headers.items(), *added.items()):
            lower = name.lower()
            if lower not in _UNSIGNED:
                by_name[lower] = " ".join(value.split())
        names = sorted(by_name)
        signed_lines = "".join([f"{name}:{by_name[name]}\n" for name in names])
        signed_names = ";".join(names)
        scope = f"{self._at[:8]}/{self._region}/{self._service}/aws4_request"
        if len(self._drafts) >= _KEPT_URLS:
            self._drafts.clear()
        return _Draft(
            f"{method}\n{target.path}\n{target.query}\n{signed_lines}\n{signed_names}\n",
            f"{_ALGORITHM}\n{self._at}\n{scope}\n",
            "".join([f"{name}: {value}\r\n" for name, value in added.items()])
            + f"Authorization: {_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={signed_names}, "
            "Signature=",
        )

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
