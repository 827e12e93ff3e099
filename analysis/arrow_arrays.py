"""Arrow's arrays of numpy's; Arrow's own ways to take these import pandas, which takes longer than many a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers_array(numbers: npt.NDArray[np.number[Any]], absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers; `absent`: which of them are NULL."""
    valid = None if absent is None else pa.py_buffer(np.packbits(~absent, bitorder="little"))
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(numbers.dtype), len(numbers), [valid, pa.py_buffer(np.ascontiguousarray(numbers))]
    )


def flags_array(flags: npt.NDArray[np.bool_]) -> pa.Array:
    """Of each whether it is set."""
    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, pa.py_buffer(np.packbits(flags, bitorder="little"))])


def texts_array(texts: Sequence[str]) -> pa.Array:
    """Texts, a few."""
    values = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))])


def without(array: pa.Array, absent: npt.NDArray[np.bool_]) -> pa.Array:
    """The same values, of which those that are `absent` are NULL, too."""
    there = np.packbits(~absent, bitorder="little")
    if array.offset:
        array = pa.concat_arrays([array])  # a part of a longer one
    valid, *values = array.buffers()
    if valid is not None:
        there &= np.frombuffer(valid, np.uint8, len(there))
    return pa.Array.from_buffers(array.type, len(array), [pa.py_buffer(there), *values])
