"""Quality checks: what is wrong with a table before anything is learnt from it."""

from evergreen.data.quality.reports import (
    check,
    check_split,
    check_table,
    check_table_by_columns,
    merge,
    whole_table,
)

__all__ = [
    "check",
    "check_split",
    "check_table",
    "check_table_by_columns",
    "merge",
    "whole_table",
]
