"""The synthetic shop as a data source: `synthetic` or `synthetic:seed=1,user_count=50`.

Knows nothing of how the shop is made (features/synthetic.py).
"""

from dataclasses import fields
from typing import Any

from features.schema import Dataset
from features.synthetic import SyntheticConfig, generate

NAME = "synthetic"


def load(options: str) -> Dataset:
    """Generate the shop that the options describe.

    Args:
        options: `name=value` pairs of SyntheticConfig, separated by commas; empty for the defaults.

    Raises:
        ValueError: An option is unknown, does not read as its type, or is out of range; names the option.
    """
    return generate(config_of(options)).dataset


def config_of(options: str) -> SyntheticConfig:
    """The configuration that `name=value,name=value` describes."""
    kinds = {field.name: float if field.type is float else int for field in fields(SyntheticConfig)}
    values: dict[str, Any] = {}
    for pair in filter(None, options.split(",")):
        name, _, value = pair.partition("=")
        if name not in kinds:
            raise ValueError(f"{NAME}: option {name!r} is none of {', '.join(kinds)}")
        try:
            values[name] = kinds[name](value)
        except ValueError as error:
            raise ValueError(f"{NAME}: option {name}: {value!r} is not a number ({kinds[name].__name__})") from error
    return SyntheticConfig(**values)
