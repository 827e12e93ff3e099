"""AWS's query protocol: forms in, XML out.

https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape


def parse_form(body: bytes) -> dict[str, Any]:
    """`Action=Publish&A.entry.1.Name=x` -> `{"Action": "Publish", "A": {"entry": {"1": {"Name": "x"}}}}`.

    Raises ValueError for a name that is both a value and a branch.
    """
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode(), keep_blank_values=True):
        *parents, last = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{name} contradicts another parameter")
        branch[last] = value
    return tree


def members(tree: Any, kind: str = "member") -> Sequence[Any]:
    """The items of a list parameter in order: `{"member": {"1": a, "2": b}}` -> `[a, b]`.

    An empty list is sent as an empty text.
    """
    items = tree.get(kind, {}) if isinstance(tree, Mapping) else {}
    return [items[index] for index in sorted(items, key=int)]


def query_response(action: str, namespace: str, content: str, request_id: str) -> bytes:
    """`content` is XML already."""
    return (
        f'<{action}Response xmlns="{namespace}"><{action}Result>{content}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    ).encode()


def query_error(code: str, message: str, sender_fault: bool = False) -> bytes:
    fault = "Sender" if sender_fault else "Receiver"
    return (
        f"<ErrorResponse><Error><Type>{fault}</Type><Code>{escape(code)}</Code>"
        f"<Message>{escape(message)}</Message></Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    ).encode()
