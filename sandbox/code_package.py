"""A function's deployment package: its Python modules, compiled once, and stack traces that show Lambda's paths."""

from __future__ import annotations

import io
import os
import traceback
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, TracebackType

TASK_ROOT = "/var/task"
RUNTIME_LIBRARIES = "/var/lang/lib/python3.12"
_SANDBOX = str(Path(__file__).parent) + os.sep
_STANDARD_LIBRARY = str(Path(os.__file__).parent)


class CodeError(Exception):
    """A module of the package does not compile."""

    def __init__(self, error: SyntaxError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class _Source:
    text: str
    path: str
    is_package: bool
    compiled: list[CodeType] = field(default_factory=list)

    def code(self) -> CodeType:
        if not self.compiled:
            try:
                self.compiled.append(compile(self.text, self.path, "exec", dont_inherit=True))
            except SyntaxError as error:
                raise CodeError(error) from None
        return self.compiled[0]


class CodePackage:
    """The Python modules of a deployment package, by dotted name. What is no zip archive holds none."""

    def __init__(self, code_zip: bytes) -> None:
        self.sources: dict[str, _Source] = {}
        if not zipfile.is_zipfile(io.BytesIO(code_zip)):
            return
        with zipfile.ZipFile(io.BytesIO(code_zip)) as archive:
            for name in archive.namelist():
                if name.endswith(".py"):
                    self._add(name, archive.read(name).decode("utf-8", "replace"))

    def _add(self, name: str, text: str) -> None:
        dotted = name[: -len(".py")].replace("/", ".")
        is_package = dotted.endswith(".__init__") or dotted == "__init__"
        module = dotted.removesuffix("__init__").removesuffix(".")
        if module:
            self.sources[module] = _Source(text, f"{TASK_ROOT}/{name}", is_package)

    def holds(self, module: str) -> bool:
        """Whether the package has this module, or (a namespace package) modules below it."""
        return module in self.sources or any(name.startswith(module + ".") for name in self.sources)

    def line(self, path: str, number: int) -> str:
        """A line of source, stripped, for a traceback."""
        for source in self.sources.values():
            if source.path == path:
                lines = source.text.splitlines()
                return lines[number - 1].strip() if 0 < number <= len(lines) else ""
        return ""


def format_stack(trace: TracebackType | None, package: CodePackage) -> list[str]:
    """Stack entries as `traceback.format_list` writes them, from the user's code on.

    The sandbox's own frames are left out: on AWS the network stands there. Paths are Lambda's.
    """
    entries: list[str] = []
    for summary in _user_frames(traceback.walk_tb(trace)):
        path, line, name, text = summary
        if path.startswith(TASK_ROOT):
            text = package.line(path, line)
        entries.append(f'  File "{path}", line {line}, in {name}\n' + (f"    {text}\n" if text else ""))
    return entries


def _user_frames(walk: Iterable[tuple[FrameType, int]]) -> list[tuple[str, int, str, str]]:
    frames: list[tuple[str, int, str, str]] = []
    for frame, line in walk:
        path = frame.f_code.co_filename
        if path.startswith(_SANDBOX):
            if frames:
                break  # behind a client: AWS's side of the call
            continue
        if frames or path.startswith(TASK_ROOT):
            frames.append((_library_path(path), line, frame.f_code.co_name, ""))
    return frames


def _library_path(path: str) -> str:
    """Where Lambda has a library that is here at `path`; a path of the package stays as it is."""
    before, site_packages, below = path.rpartition("/site-packages/")
    if before:
        return f"{RUNTIME_LIBRARIES}{site_packages}{below}"
    return RUNTIME_LIBRARIES + path.removeprefix(_STANDARD_LIBRARY) if path.startswith(_STANDARD_LIBRARY) else path
