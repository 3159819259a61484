"""From a table's columns to the numbers that an estimator takes."""

from evergreen.features.build import build_features, check_features, is_fitted
from evergreen.features.origins import feature_origins

__all__ = ["build_features", "check_features", "feature_origins", "is_fitted"]
