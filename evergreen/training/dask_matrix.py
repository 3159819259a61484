"""XGBoost's matrix on Dask, in bins from elsewhere. Import it where it is used: it is heavy."""

from __future__ import annotations

from typing import Any

from xgboost.dask import DaskQuantileDMatrix

from evergreen.training.bins import SharedBins


class DaskMatrixInBins(DaskQuantileDMatrix):
    """Rows that each worker files into ``bins``; None: the workers find bins in all rows together.

    XGBoost itself lets a matrix have another one's bins on a worker, but hands on only those of
    one that was made by the same call (3.2.0).
    """

    def __init__(self, *data: Any, bins: SharedBins | None, **how: Any) -> None:
        super().__init__(*data, **how)
        self._bins = bins

    def _create_fn_args(self, worker_addr: str) -> dict[str, Any]:
        given: dict[str, Any] = super()._create_fn_args(worker_addr)
        return given | {"ref": self._bins}
