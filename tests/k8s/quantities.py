"""Amounts as Kubernetes writes them: `500m`, `1.5Gi`, `2e3`."""

import re
from decimal import Decimal

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<power>[+-]?\d+))?"
)
_FACTORS = {
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("num kMGTPE", start=-3)},
}


def quantity(written: str | float) -> Decimal:
    """What is written, in units.

    Raises:
        ValueError: Kubernetes cannot read it.
    """
    match = _QUANTITY.fullmatch(str(written))
    if match is None:
        raise ValueError(f"not a quantity: {written}")
    return Decimal(match["number"]) * _FACTORS[match["suffix"] or " "] * Decimal(10) ** int(match["power"] or 0)
