"""Quality checks: what is wrong with a table before anything is learnt from it."""

from evergreen.data.quality.reports import (
    check_split,
    check_table,
    check_table_by_columns,
    merge,
)

__all__ = ["check_split", "check_table", "check_table_by_columns", "merge"]
