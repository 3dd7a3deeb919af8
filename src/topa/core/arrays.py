"""Files of named arrays in the safetensors format, written in pieces and read by memory-mapping.

The safetensors package does the same for tensors, but it copies NumPy arrays twice and its metadata has no fixed order.
Here nothing is copied, and equal arrays give equal bytes.
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
    """The contents of a file. arrays: by name, read-only and memory-mapped. about: the metadata, plain JSON."""

    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any] | None = None) -> None:
    """Write a file atomically. about: metadata, plain JSON. Raises OutputError as `atomic_file` does."""
    with atomic_file(path, "arrays") as file:
        for piece in serialize(arrays, about):
            file.write(piece)


def serialize(
    arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any] | None = None
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a file of arrays, in order."""
    import numpy as np

    codes = {kind: code for code, kind in _CODES.items()}
    # Widest dtype first, so that every array is aligned to its item size.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {} if about is None else {"__metadata__": {_ABOUT: json.dumps(about, ensure_ascii=False)}}
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {"dtype": codes[array.dtype.str], "shape": list(array.shape), "data_offsets": [start, end]}
    encoded_header = json.dumps(header, ensure_ascii=False).encode()
    encoded_header += b" " * (-len(encoded_header) % 8)
    yield struct.pack("<Q", len(encoded_header)) + encoded_header
    for _, array in ordered:
        if array.size:
            yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def map_arrays(path: Path) -> Arrays:
    """Memory-map the arrays of a file. Raises OSError if it can't be opened, ValueError if it is truncated."""
    import numpy as np

    with path.open("rb") as file:
        return parse_arrays(np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8))


def parse_arrays(data: NDArray[np.uint8]) -> Arrays:
    """Return views of the arrays in a file's bytes. Raises ValueError if they are truncated or malformed."""
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
