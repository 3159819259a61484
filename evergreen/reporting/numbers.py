"""How every figure is written, in one place: the reports, the card and the drawings use these."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evergreen.config import Choice
from evergreen.training.results import Interval

if TYPE_CHECKING:
    from typing_extensions import TypeIs

NOT_MEASURABLE = "not measurable"
NOT_RECORDED = "not recorded"
MINUS = "\N{MINUS SIGN}"
LEAST_EXPONENT = 7  # decimal places; numbers that need more are written with a power of ten
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3, missing: str = NOT_MEASURABLE) -> str:
    """Write a number with ``digits`` significant digits and thousands separators.

    ``missing`` stands for None, NaN and infinities: 0.97223 -> "0.972", 12345.6 -> "12,346".
    """
    if not measured(value):
        return missing
    return _fixed(value, decimals([value], digits))


def interval(value: Interval | None, digits: int = 3) -> str:
    """Write an estimate with its bounds: "0.972 (0.917 to 1.000)", "1.00 (no interval)"."""
    if value is None or not measured(value.estimate):
        return NOT_MEASURABLE
    estimate, bounds = estimate_and_bounds(value, digits)
    return f"{estimate} ({bounds or 'no interval'})"


def estimate_and_bounds(value: Interval, digits: int = 3) -> tuple[str, str]:
    """Write an estimate, and its bounds ("0.917 to 1.000"; empty where there are none).

    Both use the same number of decimals, so that they can be compared at a glance.
    """
    if not measured(value.estimate):
        return NOT_MEASURABLE, ""
    if not measured(value.low) or not measured(value.high):
        return number(value.estimate, digits), ""
    # The width counts where the estimate is near zero, as a difference may be.
    places = decimals([value.estimate, value.high - value.low], digits)
    low, high = _fixed(value.low, places), _fixed(value.high, places)
    return _fixed(value.estimate, places), f"{low} to {high}"


def with_deviation(value: float | None, deviation: float | None, digits: int = 3) -> str:
    """Write a mean and its standard deviation, to the same decimals: "0.107 ± 0.074"."""
    if not measured(value) or not measured(deviation):
        return number(value, digits)
    places = decimals([value], digits)
    return f"{_fixed(value, places)} ± {_fixed(deviation, places)}"


def plain(value: float | None, digits: int = 4) -> str:
    """Write a value of the data: rounded, but without zeros that only promise precision."""
    text = number(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def correlation(value: float | None) -> str:
    """Write a correlation or a strength of association with two decimals."""
    return _fixed(value, 2) if measured(value) else NOT_MEASURABLE


def count(value: int | None) -> str:
    """Write a whole number with thousands separators."""
    return NOT_RECORDED if value is None else f"{value:,}".replace("-", MINUS)


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """Write a count with its noun: "1 row", "12,000 rows"."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def share(value: float | None) -> str:
    """Write a share as a percentage that never rounds something to nothing or to all."""
    if not measured(value):
        return NOT_MEASURABLE
    if 0 < value < 0.001:
        return "<0.1%"
    if 0.999 < value < 1:
        return ">99.9%"
    percent = f"{100 * value:.1f}"
    return f"{percent.removesuffix('.0')}%"


def seconds(value: float | None) -> str:
    """Write a duration: "0.42 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if not measured(value):
        return NOT_RECORDED
    if value < 9.95:
        return f"{value:.2g} s" if value < 1 else f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def parameter(value: Choice) -> str:
    """Write an estimator's parameter: as it is, numbers to four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", MINUS)
    return "none" if value is None else str(value)


def parameters(values: Mapping[str, Choice]) -> str:
    """Write a setting: "max_depth = 4, eta = 0.1", or "defaults"."""
    return ", ".join(f"{name} = {parameter(value)}" for name, value in values.items()) or "defaults"


def moment(value: datetime | None) -> str:
    """Write a point in time in UTC: "7 March 2026, 14:03 UTC" (naive times are taken as UTC)."""
    if value is None:
        return NOT_RECORDED
    at = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def short_hash(value: str | None) -> str:
    """Shorten a fingerprint or commit to what a person compares by eye."""
    return NOT_RECORDED if not value else value[:12]


def shorten(text: str, length: int) -> str:
    """Cut a long name in its middle, so that both its beginning and its end stay readable."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"


def listing(names: Iterable[str], limit: int = 6) -> str:
    """Join names as prose: "a, b and c", with "and 12 more" beyond ``limit``."""
    items = list(names)
    if len(items) > limit:
        items = [*items[: limit - 1], f"{len(items) - limit + 1} more"]
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def measured(value: float | None) -> TypeIs[float]:
    """Return whether there is a finite figure."""
    return value is not None and math.isfinite(value)


def decimals(values: Iterable[float], digits: int = 3) -> int:
    """Return the decimal places that give the largest of ``values`` its significant digits."""
    largest = max((abs(each) for each in values if math.isfinite(each)), default=0.0)
    if largest == 0:
        return 0
    return max(digits - 1 - math.floor(math.log10(largest)), 0)


def _fixed(value: float, places: int) -> str:
    if abs(value) >= 1e12 or (places > LEAST_EXPONENT and abs(value) < 1e-4):
        mantissa, exponent = f"{value:.2e}".split("e")
        power = str(int(exponent)).translate(SUPERSCRIPTS)
        text = f"{mantissa} × 10{power}" if value else "0"
    else:
        text = f"{value:,.{places}f}"
    return text.replace("-", MINUS) if text.strip("-0.,") else text.lstrip("-")
