"""Reads the answers of one HTTP/1.1 connection, one after another: bytes go in, whole answers come out.

The parser is llhttp (httptools), the one of Node.js. What is added here: answers that end with their connection, the
one to a HEAD request, interim answers (1xx), and the refusal of anything that nobody asked for.
"""

from __future__ import annotations

from typing import Any

import orjson
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MAX_HEAD_BYTES = 256 * 1024
CUT_OFF = "connection closed in the middle of the answer"
_UNREAD = object()


class MalformedAnswerError(Exception):
    """What came is no answer, or not the whole of it; the text says why."""


class Response:
    """One answer, whole."""

    __slots__ = ("_document", "body", "elapsed_ms", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        """Lower-case name -> value; of a repeated header the last value."""
        self.body = body
        self.elapsed_ms: float | None = None
        """From the request's start to the last byte; None before the answer has been timed."""
        self._document: Any = _UNREAD

    def json(self) -> Any:
        """The body as JSON, read when first asked for; None where it is no JSON."""
        if self._document is _UNREAD:
            try:
                self._document = orjson.loads(self.body)
            except orjson.JSONDecodeError:
                self._document = None
        return self._document


class AnswerReader:
    """The answers of one connection. Of no use any more once it has raised."""

    def __init__(self) -> None:
        self.keep_alive = True
        """Whether the connection may serve another request, by the answer read last."""
        self._new_parser()
        self.begin()

    def begin(self, to_head: bool = False) -> None:
        """A request goes out; `to_head`: its method is HEAD, so that the answer has no body whatever it says."""
        self._to_head = to_head
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_bytes = 0
        self._complete = False
        self._surplus = False

    def feed(self, data: bytes) -> Response | None:
        """Take what was received, empty where the connection was closed; None until the answer is whole.

        Raises MalformedAnswerError.
        """
        if data:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade:
                raise MalformedAnswerError("malformed answer: an upgrade that nobody asked for") from None
            except HttpParserError as malformed:
                raise MalformedAnswerError(f"malformed answer: {malformed}") from None
        elif self._ends_with_connection():
            self._complete = True
        else:
            raise MalformedAnswerError(CUT_OFF)
        if self._surplus:
            raise MalformedAnswerError("malformed answer: more than one answer to one request")
        if not self._complete:
            if not self._status:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    raise MalformedAnswerError(f"malformed answer: a head of more than {MAX_HEAD_BYTES} bytes")
            return None
        body = self._body
        return Response(self._status, self._headers, body[0] if len(body) == 1 else b"".join(body))

    def _new_parser(self) -> None:
        self._parser = HttpResponseParser(self)
        # Allows a header to be folded over several lines, which a client must accept (RFC 9112, 5.2).
        self._parser.set_dangerous_leniencies(lenient_headers=True)

    def _ends_with_connection(self) -> bool:
        """Whether a body is being read that has no length of its own (RFC 9112, 6.3)."""
        coding = self._headers.get("transfer-encoding")
        if coding is not None:
            return self._status >= 200 and not coding.lower().endswith("chunked")
        return self._status >= 200 and "content-length" not in self._headers

    # What the parser calls. `_status` is 0 until the head of an answer has been read.

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[_NAMES[name]] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self._status = self._parser.get_status_code()
        self.keep_alive = self._parser.should_keep_alive()
        if self._to_head and self._status >= 200:
            self._complete = True
            # This one would now wait for a body.
            self._new_parser()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._status >= 200:
            self._complete = True
        else:
            # An interim answer: the real one follows on the same connection.
            self._status = 0
            self._headers = {}


class _Names(dict[bytes, str]):
    """Header names as sent -> in lower case; servers send the same few again and again."""

    _LIMIT = 1000

    def __missing__(self, name: bytes) -> str:
        lower = name.decode("latin-1").lower()
        if len(self) < self._LIMIT:
            self[name] = lower
        return lower


_NAMES = _Names()
