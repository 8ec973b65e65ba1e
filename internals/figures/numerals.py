"""Numbers as they are printed on figures: three digits that matter, a true minus sign."""

import math

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DASH = "\N{EN DASH}"  # where a number would stand, if there were one


def number(value: float) -> str:
    """`value` to three significant digits, without an exponent wherever that stays short."""
    if not math.isfinite(value):
        return str(value).replace("-", MINUS)
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001 or size >= 1e6:
        return f"{value:.1e}".replace("-", MINUS)
    exponent = int(f"{size:.2e}".partition("e")[2])  # of the rounded value: 0.9999 is 1.00
    decimals = max(0, 2 - exponent)
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def percent(share: float, decimals: int = 1) -> str:
    """A share in [0, 1] as a percentage; 0 % and 100 % are only printed where they are exact."""
    step = 10.0**-decimals
    shown = round(100 * share, decimals)
    if shown == 100 and share < 1:
        return f">{100 - step:.{decimals}f} %"
    if shown == 0 and share > 0:
        return f"<{step:.{decimals}f} %"
    return f"{shown:.{0 if shown in (0, 100) else decimals}f} %"
