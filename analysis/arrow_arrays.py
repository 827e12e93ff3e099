"""Arrow's arrays of numpy's; Arrow's own ways to take these import pandas, which takes longer than many a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers_array(numbers: npt.NDArray[np.integer[Any]], absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Whole numbers; `absent`: which of them are NULL."""
    valid = None if absent is None else pa.py_buffer(np.packbits(~absent, bitorder="little"))
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(numbers.dtype), len(numbers), [valid, pa.py_buffer(np.ascontiguousarray(numbers))]
    )


def texts_array(texts: Sequence[str]) -> pa.Array:
    """Texts, a few."""
    values = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))])
