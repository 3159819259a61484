"""A graph that `evergreen.onnx_export` wrote, run by ONNX Runtime in the calling thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evergreen.errors import InputError
from evergreen.serving.parsing.rows import NumbersRow

CHUNK: Final = 8192  # rows that are computed at once, which bounds the memory
FEW: Final = 64  # texts of which each is looked at by itself

# Per feature column: float64 (missing NaN), objects (text, missing None), or datetime64[us].
Inputs = Mapping[str, npt.NDArray[Any]]
FloatArray = npt.NDArray[np.float64]


class OnnxModel:
    """A loaded graph. It may be called from several threads at once.

    Parameters
    ----------
    content
        The bytes of the ONNX file.

    Attributes
    ----------
    columns
        The columns that it reads.
    labels
        What its answers' columns stand for; None for a regression.

    Raises
    ------
    InputError
        If the bytes are no graph, or one with other inputs.
    """

    def __init__(self, content: bytes) -> None:
        self._session = new_session(content)
        told = self._session.get_modelmeta().custom_metadata_map
        names = [declared.name for declared in self._session.get_inputs()]
        unknown = [name for name in names if name not in _PACKERS or name not in told]
        if unknown or "labels" not in told:
            lacking = f"an input {unknown[0]!r}" if unknown else "answers"
            raise InputError(f"model.onnx has {lacking} that this version does not know.")
        self._inputs = [(name, _PACKERS[name], json.loads(told[name])) for name in names]
        self.columns = [column for _, _, columns in self._inputs for column in columns]
        self.labels = json.loads(told["labels"])
        self._packed: str | None = None  # the input that takes a row of numbers as it is
        self._outputs = [declared.name for declared in self._session.get_outputs()]

    def takes_numbers(self, columns: Sequence[str]) -> None:
        """Tell that a `NumbersRow` holds these columns, in this order."""
        (name, pack, read), *others = self._inputs
        if not others and pack is _numbers and list(read) == list(columns):
            self._packed = name

    def run(self, inputs: Inputs, rows: int) -> FloatArray:
        """Return probabilities (rows × labels) or predictions (rows)."""
        if type(inputs) is NumbersRow and self._packed is not None:
            found: FloatArray = self._session.run(self._outputs, {self._packed: inputs.block})[0]
            return found
        if rows <= CHUNK:
            return self._run(inputs)
        starts = range(0, rows, CHUNK)
        parts = [{name: inputs[name][s : s + CHUNK] for name in inputs} for s in starts]
        return np.concatenate([self._run(part) for part in parts])

    def _run(self, inputs: Inputs) -> FloatArray:
        feeds = {name: pack([inputs[c] for c in columns]) for name, pack, columns in self._inputs}
        found: FloatArray = self._session.run(self._outputs, feeds)[0]
        return found


def new_session(content: bytes) -> Any:
    """Return an `onnxruntime.InferenceSession` that computes in the calling thread.

    Raises
    ------
    InputError
        If the bytes are no graph that can be run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # workers are processes; a row is too small to share
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors alone
    # Further optimizations fold double constants into single attributes (MatMulScaleFusion).
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return onnxruntime.InferenceSession(
            content, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except faults() as error:
        raise InputError(f"model.onnx cannot be loaded: {error}") from error


def faults() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises for a graph that is damaged or that it cannot run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf")
    more = ("NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in (*names, *more))


def _numbers(columns: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    stacked = np.concatenate(columns, dtype=np.float64).reshape(len(columns), -1)
    return np.ascontiguousarray(stacked.T)


def _texts(columns: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    packed = np.empty((len(columns[0]), len(columns)), dtype=object)
    for position, column in enumerate(columns):
        texts = column.tolist()
        if len(texts) > FEW:  # categories repeat
            found = {text: _text(text) for text in set(texts)}
            packed[:, position] = [found[text] for text in texts]
        else:
            packed[:, position] = [_text(text) for text in texts]
    return packed


def _text(text: str | None) -> str:
    """Return text that ONNX Runtime can take: half of a surrogate pair is no character."""
    if not text:
        return ""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _moments(columns: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    stacked = np.concatenate([column.astype("datetime64[us]") for column in columns])
    return np.ascontiguousarray(stacked.view(np.int64).reshape(len(columns), -1).T)


_PACKERS: Final[dict[str, Callable[[list[npt.NDArray[Any]]], npt.NDArray[Any]]]] = {
    "numbers": _numbers,
    "categories": _texts,
    "timestamps": _moments,
}
