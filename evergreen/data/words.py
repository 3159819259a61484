"""How truth values and missing values are spelt in text. Free of pandas, for serving."""

from __future__ import annotations

from typing import Final

TRUE_WORDS: Final = frozenset({"true", "yes", "t", "y", "1", "1.0"})
FALSE_WORDS: Final = frozenset({"false", "no", "f", "n", "0", "0.0"})

# Numbers read as times since 1970 (POSIX): the magnitude tells seconds from milli-, micro- and
# nanoseconds for every date between 1973 and 5138. Bound, and microseconds per unit.
EPOCH_SCALES: Final = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (1e20, 1e-3))

# What pandas reads as missing in CSV, unless told otherwise.
MISSING_WORDS: Final = frozenset(
    [
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    ]
)
