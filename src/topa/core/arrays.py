"""Files of named arrays in the safetensors format: written piece by piece, read by memory-mapping.

The safetensors package does both for tensors, but copies numpy's arrays whole, twice, and orders metadata as it likes.
Here nothing is copied, and the same arrays give the same bytes.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifacts import atomic_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CODES = {
    "U8": "|u1",
    "BOOL": "|b1",
    "I32": "<i4",
    "I64": "<i8",
    "U64": "<u8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
_ABOUT = "topa"  # the one key of the file's metadata: JSON
_LONGEST_HEADER = 100_000_000  # as in the safetensors package


@dataclass(frozen=True, slots=True)
class Arrays:
    """What a file holds. arrays: by name, read-only and mapped. about: what was written beside them."""

    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any] | None = None) -> None:
    """Write a whole file or nothing. about: plain JSON. Raises OutputError as `atomic_file` does."""
    with atomic_file(path, "arrays") as file:
        for piece in pieces(arrays, about):
            file.write(piece)


def pieces(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any] | None = None) -> Iterator[bytes | memoryview]:
    """The bytes of such a file, in their order."""
    import numpy as np

    codes = {kind: code for code, kind in _CODES.items()}
    # The widest first: then every array lies at a multiple of its width.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {} if about is None else {"__metadata__": {_ABOUT: json.dumps(about, ensure_ascii=False)}}
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {"dtype": codes[array.dtype.str], "shape": list(array.shape), "data_offsets": [start, end]}
    told = json.dumps(header, ensure_ascii=False).encode()
    told += b" " * (-len(told) % 8)
    yield struct.pack("<Q", len(told)) + told
    for _, array in ordered:
        if array.size:
            yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def map_arrays(path: Path) -> Arrays:
    """The arrays of a file, memory-mapped. Raises OSError where there is none, ValueError where it isn't whole."""
    import numpy as np

    with path.open("rb") as file:
        return parse_arrays(np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8))


def parse_arrays(data: NDArray[np.uint8]) -> Arrays:
    """The arrays in the bytes of a file, nothing copied. Raises ValueError where it isn't whole."""
    length = int.from_bytes(data[:8].tobytes().ljust(8, b"\xff"), "little")
    if length > min(_LONGEST_HEADER, len(data) - 8):
        raise ValueError(f"its header ends behind its {len(data)} bytes")
    body = data[8 + length :]
    try:
        header = json.loads(data[8 : 8 + length].tobytes())
        about = json.loads(header.pop("__metadata__", {}).get(_ABOUT, "{}"))
        arrays: dict[str, NDArray[np.generic]] = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            if end > len(body):
                raise ValueError(f"'{name}' ends behind its {len(data)} bytes")
            arrays[name] = body[start:end].view(_CODES[entry["dtype"]]).reshape(entry["shape"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its header is not that of arrays ({error!r})") from error
    return Arrays(arrays, about)
