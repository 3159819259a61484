"""Models as ONNX graphs, and the proof that these give the same answers.

Only training imports this package; serving needs nothing but the graph.
"""

from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.export import export_onnx
from evergreen.onnx_export.parity import check_parity
from evergreen.promotion.parity import Parity

__all__ = ["NotExportable", "Parity", "check_parity", "export_onnx"]
