"""The part of a bundle that is served fast: ``model.onnx``, kept only if it answers alike."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evergreen.data.contract import Contract

if TYPE_CHECKING:
    import pandas as pd

MODEL_ONNX: Final = "model.onnx"
PARITY: Final = "parity.json"

log = logging.getLogger(__name__)


def write_graph(folder: Path, model: Any, contract: Contract, inputs: pd.DataFrame) -> str | None:
    """Write the model as a graph, and how the two compare; return why there is no graph.

    ``inputs`` is a model frame to compare on. A graph that answers otherwise is not kept; the
    comparison is.
    """
    from evergreen.onnx_export import NotExportable, check_parity, export_onnx

    try:
        graph = export_onnx(model, contract)
        parity = check_parity(model, graph, inputs, contract)
    except NotExportable as error:
        return str(error)
    except Exception as error:
        # The graph is a faster copy of the model: no reason to lose a training.
        log.exception("The model could not be written as an ONNX graph; it is served natively.")
        return f"writing the graph failed ({type(error).__name__}: {error})"
    (folder / PARITY).write_text(parity.model_dump_json(indent=1), encoding="utf-8")
    if not parity.passed:
        return f"the graph does not answer as the model does: {parity.reason}"
    (folder / MODEL_ONNX).write_bytes(graph)
    return None
