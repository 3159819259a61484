"""Why a model cannot become an ONNX graph."""

from __future__ import annotations


class NotExportable(Exception):  # noqa: N818  (it is no fault: such a model is served natively)
    """The model has no ONNX form that gives the same answers; the text says why."""
