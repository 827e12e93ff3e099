"""The files of flow `custom`, read and checked before any load: what to send, and with which rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from dotenv import dotenv_values

from config.custom_flow import CustomFlow, load_custom_flow
from config.errors import ConfigError
from loadgen.custom_flow import CustomRequests, row_names
from loadgen.leases import Lessor
from loadgen.payload_file import PayloadFile, PayloadFileError, Row, parse, read_chunk, sha256_of, survey


@dataclass(frozen=True)
class Custom:
    """The flow's file and its payload files, checked."""

    path: Path
    sha256: str
    flow: CustomFlow
    files: Mapping[str, PayloadFile]
    """By the payload's name."""

    def as_message(self) -> dict[str, Any]:
        """Plain data for the plan. No values of variables: those are each machine's own."""
        return {
            "path": str(self.path),
            "flow": self.flow.model_dump(mode="json"),
            "files": {
                name: {"file": str(file.path), "sha256": file.sha256, "columns": list(file.columns)}
                for name, file in self.files.items()
            },
        }

    def manifest(self, lessors: Mapping[str, Lessor], functions: Mapping[str, str]) -> dict[str, Any]:
        """What the manifest says of it: names and digests, how many rows were handed out, and its chains.

        `functions`: logical name -> function, of those that are known.
        """
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "chains": [
                {
                    "name": name,
                    "requests": row_names(self.flow, chain.requests),
                    "functions": [self.flow.logical_name(function, functions) for function in chain.functions],
                }
                for name, chain in self.flow.chains.items()
            ],
            "payloads": {
                name: {
                    "file": file.path.name,
                    "sha256": file.sha256,
                    "rows": file.rows,
                    "order": self.flow.payloads[name].order,
                    "rows_handed_out": lessors[name].handed_out,
                    **({"rows_unsent": lessors[name].unsent} if self.flow.payloads[name].order == "once" else {}),
                }
                for name, file in self.files.items()
            },
        }


def load_custom(path: Path) -> Custom:
    """Read and check everything: the file, the payload files row by row, the variables, the templates by a first row.

    Raises ConfigError with every problem.
    """
    read = load_custom_flow(path)
    problems: list[str] = []
    files: dict[str, PayloadFile] = {}
    for name, payload in read.flow.payloads.items():
        try:
            files[name] = survey(path.parent / payload.file)
        except PayloadFileError as unusable:
            problems += unusable.problems
    requests = None
    try:
        requests = CustomRequests(read.flow, variables_of(read.flow), Random(), time.time)
    except ConfigError as missing:
        problems += [f"{path}: environment: {problem}" for problem in missing.problems]
    except ValueError as unsound:
        problems += [f"{path}: {problem}" for problem in str(unsound).splitlines()]
    if requests is not None and not problems:
        first_rows = {name: _first_row(file) for name, file in files.items()}
        problems += [f"{path}: {problem}" for problem in requests.try_out(first_rows)]
    if problems:
        raise ConfigError(problems)
    return Custom(path, read.sha256, read.flow, files)


def variables_of(flow: CustomFlow) -> dict[str, str]:
    """The variables that a flow names, from the environment, else from `.env`. Raises ConfigError for those not set."""
    found = {**dotenv_values(".env", interpolate=False), **os.environ}
    values = {name: value for name in flow.environment if (value := found.get(name))}
    if missing := [name for name in flow.environment if name not in values]:
        raise ConfigError([f"{name} is not set" for name in missing])
    return values


def compare_files(files: Iterable[Mapping[str, Any]], pause: Callable[[], None]) -> None:
    """Check that a worker's payload files are the master's; `files` as in `Custom.as_message`.

    `pause` is called between two reads. Raises ConfigError.
    """
    problems = []
    for file in files:
        path = Path(file["file"])
        try:
            found = sha256_of(path, pause)
        except OSError as failure:
            problems.append(f"{path}: {(failure.strerror or str(failure)).lower()}; the master has it")
            continue
        if found != file["sha256"]:
            problems.append(f"{path}: it is not the master's: its sha256 is {found}, there it is {file['sha256']}")
    if problems:
        raise ConfigError(problems)


def _first_row(file: PayloadFile) -> Row:
    return parse(read_chunk(file.path, file.chunks[0])[0].text, file.columns)
