"""The zip files that Lambda gets: one per application, with what all share; the same bytes for the same source."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip file can hold: file times do not change the bytes."""


@dataclass(frozen=True)
class Package:
    """A zipped application."""

    application: str
    content: bytes

    @property
    def key(self) -> str:
        """`vote-<16 hex>.zip`: other code has another key, so that CloudFormation sees the change."""
        return f"{self.application}-{hashlib.sha256(self.content).hexdigest()[:16]}.zip"


def package(folder: Path) -> Package:
    """Zip every `*.py` of an application folder, and of `shared` beside it, at the zip's root, for the Lambda user."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted([*folder.glob("*.py"), *(folder.parent / "shared").glob("*.py")]):
            entry = zipfile.ZipInfo(source.name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, source.read_bytes())
    return Package(folder.name, buffer.getvalue())
