"""What a bundle says of its two forms: the native model, and the graph made from it."""

from __future__ import annotations

from evergreen.values import Value


class Parity(Value):
    """How the answers of a graph and of the model that it was made from compare.

    ``rows`` were given, ``threshold_rows`` were made at and next to the thresholds of
    ``branches_tried`` of the ``branches`` in the model's trees. ``difference`` is the greatest,
    absolute for probabilities and relative to the greatest prediction for regressions; None where
    it could not be measured. ``where`` names the rows it was found on.
    """

    passed: bool
    tolerance: float
    rows: int
    threshold_rows: int
    branches: int
    branches_tried: int
    difference: float | None
    where: str | None
    reason: str | None  # why it did not pass

    def __str__(self) -> str:
        """Say in a sentence what will serve the model, and why."""
        if not self.passed:
            return f"the native model: {self.reason}"
        return (
            f"ONNX Runtime. Its answers differ from the native model's by at most "
            f"{self.difference or 0:.1g} on {self.rows:,} holdout rows and {self.threshold_rows:,} "
            f"made at tree thresholds ({self.tolerance:g} is tolerated)."
        )
