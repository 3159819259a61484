"""Tensors of the Open Inference Protocol, read into columns of plain values."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from evergreen.serving.parsing.readers import kind
from evergreen.serving.problems import Problem

DTYPES: Final[dict[str, Any]] = {
    "BOOL": np.bool_,
    **{
        f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}")
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
}
BYTES: Final = "BYTES"
MAX_VALUES: Final = 20_000_000


class Tensor:
    """One input: its name, its shape, and its values, flattened row by row."""

    __slots__ = ("name", "shape", "values")

    def __init__(self, name: str, shape: tuple[int, ...], values: list[Any]) -> None:
        self.name, self.shape, self.values = name, shape, values


def read_tensor(given: Any, number: int, take: Callable[[int], bytes]) -> Tensor:
    """Read one entry of ``inputs``; ``take`` gives the next bytes of the binary part.

    Raises
    ------
    Problem
        If it is no tensor of the protocol.
    """
    where = f"inputs[{number}]"
    if not isinstance(given, dict):
        raise Problem("invalid-input", f"{where} must be an object, but is {kind(given)}.")
    name, datatype = given.get("name"), given.get("datatype")
    if not isinstance(name, str):
        raise Problem("invalid-input", f"{where}.name must be text.")
    if not isinstance(datatype, str) or (datatype != BYTES and datatype not in DTYPES):
        raise Problem(
            "invalid-input", f"{where}.datatype must be one of {', '.join((*DTYPES, BYTES))}."
        )
    shape = _shape(given.get("shape"), where)
    parameters = given.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None:
        values = _from_bytes(take(_size(size, where)), datatype, where)
    else:
        values = _from_json(given.get("data"), datatype, shape, where)
    if len(values) != math.prod(shape):
        raise Problem(
            "invalid-input", f"{where} has {len(values)} values, its shape {list(shape)} others."
        )
    return Tensor(name, shape, values)


def _shape(shape: Any, where: str) -> tuple[int, ...]:
    sound = isinstance(shape, list) and 0 < len(shape) <= 2
    if not sound or not all(type(size) is int and 0 <= size <= MAX_VALUES for size in shape):
        raise Problem("invalid-input", f"{where}.shape must be [rows], or [rows, columns].")
    return tuple(shape)


def _size(size: Any, where: str) -> int:
    if type(size) is not int or size < 0:
        raise Problem("invalid-input", f"{where}.parameters.binary_data_size must be a number.")
    return size


def _from_json(data: Any, datatype: str, shape: tuple[int, ...], where: str) -> list[Any]:
    if not isinstance(data, list):
        raise Problem("invalid-input", f"{where}.data must be a list, but is {kind(data)}.")
    values = data
    if data and isinstance(data[0], list):
        even = all(isinstance(row, list) and len(row) == shape[-1] for row in data)
        if len(shape) != 2 or not even:
            raise Problem("invalid-input", f"{where}.data must be flat, or nested as its shape is.")
        values = [value for row in data for value in row]
    fits = _FITS["INT" if "INT" in datatype else "FP" if "FP" in datatype else datatype]
    for value in values:
        if value is not None and not fits(value):
            raise Problem("invalid-input", f"{where}.data holds {kind(value)}, no {datatype}.")
    if "INT" in datatype:
        limits = np.iinfo(DTYPES[datatype])
        if any(v is not None and not limits.min <= v <= limits.max for v in values):
            raise Problem("invalid-input", f"{where}.data is outside the range of {datatype}.")
    if datatype in {"FP16", "FP32"}:  # what the client means has no more digits
        with np.errstate(over="ignore"):
            narrow = np.array([math.nan if v is None else _float(v) for v in values])
            exact = narrow.astype(DTYPES[datatype]).astype(np.float64).tolist()
        return [None if v is None else found for v, found in zip(values, exact, strict=True)]
    return values


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


_FITS: Final[dict[str, Callable[[Any], bool]]] = {
    "INT": lambda value: type(value) is int,
    "FP": lambda value: type(value) in {int, float},
    "BOOL": lambda value: type(value) is bool,
    BYTES: lambda value: type(value) is str,
}


def _from_bytes(data: bytes, datatype: str, where: str) -> list[Any]:
    if datatype == BYTES:
        return _texts(data, where)
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
    if len(data) % dtype.itemsize:
        raise Problem("invalid-input", f"{where} has {len(data)} bytes, no whole {datatype}.")
    values = np.frombuffer(data, dtype)
    if values.dtype.kind == "f":
        found = values.astype(np.float64)
        return [None if math.isnan(value) else value for value in found.tolist()]
    return values.tolist()


def _texts(data: bytes, where: str) -> list[str]:
    texts, at = [], 0
    try:
        while at < len(data):
            (size,) = struct.unpack_from("<I", data, at)
            at += 4
            if at + size > len(data):
                raise Problem("invalid-input", f"{where}: a text is longer than the data.")
            texts.append(data[at : at + size].decode("utf-8"))
            at += size
    except (struct.error, UnicodeDecodeError):
        raise Problem("invalid-input", f"{where} is no list of UTF-8 texts.") from None
    return texts
