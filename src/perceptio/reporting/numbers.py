"""Numbers as text: one way of writing shares, counts, times and sizes in every report."""

import math

UNKNOWN = "\N{EN DASH}"


def percent(share: float, digits: int = 1) -> str:
    """Returns a share in [0, 1] as "82.1 %"; a dash for NaN."""
    return UNKNOWN if math.isnan(share) else f"{100 * share:.{digits}f} %"


def interval(low: float, high: float) -> str:
    """Returns two shares in [0, 1] as "75.8 to 87.0", to stand after a percentage."""
    return f"{100 * low:.1f} to {100 * high:.1f}"


def count(number: int) -> str:
    """Returns 1234567 as "1,234,567"."""
    return f"{number:,}"


def things(number: int, singular: str, plural: str | None = None) -> str:
    """Returns "1 file" or "1,234 files"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def value(number: float | int | None) -> str:
    """Returns any number of a log with four significant digits; whole numbers in full; a dash for NaN and None."""
    if number is None:
        return UNKNOWN
    if isinstance(number, int) or (math.isfinite(number) and number == int(number) and abs(number) >= 1):
        return f"{int(number):,}"
    return f"{number:.4g}" if math.isfinite(number) else UNKNOWN


def duration(seconds: float | int) -> str:
    """Returns a time as "48 s", "14 min 3 s" or "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def scaled(number: float | int, unit: str = "") -> str:
    """Returns a large number with a decimal prefix: 44912254 is "44.9 M", 7.07e11 with "FLOPs" is "707 GFLOPs".

    The prefix stands before the unit; without a unit thousands keep their digits, since "1.2 k" reads badly.
    """
    for limit, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= limit:
            return f"{_three_digits(number / limit)} {prefix}{unit}"
    return f"{number:,.0f} {unit}".rstrip()


def _three_digits(number: float | int) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"
