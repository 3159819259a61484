"""Models as ONNX graphs, and the proof that these give the same answers.

Only training imports this package; serving needs nothing but the graph.
"""

from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.export import export_onnx

__all__ = ["NotExportable", "export_onnx"]
