"""Arrays inside of values: compressed, exact, and plain text in JSON."""

from __future__ import annotations

import base64
import zlib
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from evergreen.errors import InputError
from evergreen.values import Value


class Packed(Value):
    """An array of numbers as zlib-compressed, little-endian bytes in base64."""

    dtype: str
    shape: tuple[int, ...]
    data: str

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Self:
        """Pack an array of numbers."""
        plain = np.ascontiguousarray(array)
        plain = plain.astype(plain.dtype.newbyteorder("<"))
        data = base64.b64encode(zlib.compress(plain.tobytes(), 6)).decode("ascii")
        return cls(dtype=plain.dtype.str, shape=plain.shape, data=data)

    def array(self) -> npt.NDArray[Any]:
        """Return the array, which cannot be written to; it is unpacked once.

        Raises
        ------
        InputError
            If the text is damaged.
        """
        return self._unpacked

    @cached_property
    def _unpacked(self) -> npt.NDArray[Any]:
        try:
            raw = zlib.decompress(base64.b64decode(self.data, validate=True))
            return np.frombuffer(raw, dtype=np.dtype(self.dtype)).reshape(self.shape)
        except (ValueError, TypeError, zlib.error) as error:
            raise InputError(f"A packed array of a profile is damaged: {error}") from error
