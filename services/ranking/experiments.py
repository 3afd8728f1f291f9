"""Experiments: shoppers divided by hash, and what a variant changes about their lists.

The file named by AISLE_EXPERIMENTS holds a JSON list; shares are in percent and sum to 100:

    [{"id": "variety", "variants": {"control": {"share": 50}, "varied": {"share": 50, "diversity": "HIGH"}}}]

Choices: a shopper's variant follows from the experiment's id and the shopper's alone, so that it is the same in every
process and on every day, and independent between experiments. Nobody in particular takes part in none.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from aisle.v1 import recommendation_service_pb2 as messages
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from services.common.errors import InvalidField
from services.common.settings import SettingsError
from services.ranking.ordering import Diversity, PriceRerank
from services.ranking.selecting import shopper_id
from services.ranking.shaping import Taste

_BUCKETS = 10_000
_Name = Annotated[str, Field(min_length=1, max_length=128, pattern="^[^:]+$")]


class Variant(BaseModel):
    """How large it is, and what it sets; what it does not name stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: Annotated[float, Field(ge=0, le=100)]
    diversity: Literal["NONE", "LOW", "MEDIUM", "HIGH", "AUTO"] | None = None
    price_rerank: Literal["NONE", "LOW", "MEDIUM", "HIGH"] | None = None

    def applied(self, taste: Taste) -> Taste:
        """The taste with what the variant sets."""
        if self.diversity is not None:
            taste = replace(taste, diversity=Diversity[self.diversity])
        if self.price_rerank is not None:
            taste = replace(taste, price=PriceRerank[self.price_rerank])
        return taste


class Experiment(BaseModel):
    """Variants in order; a shopper has exactly one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: _Name
    variants: Annotated[dict[_Name, Variant], Field(min_length=1)]

    @model_validator(mode="after")
    def _divides_everybody(self) -> Self:
        total = sum(variant.share for variant in self.variants.values())
        if abs(total - 100) > 1e-6:
            raise ValueError(f"shares of {self.id!r} must sum to 100, sum to {total:g}")
        return self

    def variant_of(self, shopper: str) -> str:
        """The variant of a shopper, by hash."""
        digest = hashlib.blake2b(f"{self.id}\x00{shopper}".encode(), digest_size=8).digest()
        place = int.from_bytes(digest, "little") % _BUCKETS / _BUCKETS * 100
        end = 0.0
        for name, variant in self.variants.items():
            end += variant.share
            if place < end:
                return name
        return name


def load_experiments(path: Path | None) -> tuple[Experiment, ...]:
    """The experiments of a file; none without one.

    Raises:
        SettingsError: the file cannot be read, or says something else; names what.
    """
    if path is None:
        return ()
    try:
        found = TypeAdapter(list[Experiment]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SettingsError(f"AISLE_EXPERIMENTS: {path}: {error}") from None
    ids = [experiment.id for experiment in found]
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise SettingsError(f"AISLE_EXPERIMENTS: {path}: {min(twice)!r} is there twice")
    return tuple(found)


def check_overrides(experiments: tuple[Experiment, ...], overrides: Mapping[str, str]) -> None:
    """Refuse what does not exist.

    Raises:
        InvalidField: an experiment that does not run, or a variant that it does not have.
    """
    known = {experiment.id: experiment for experiment in experiments}
    for name, variant in overrides.items():
        if name not in known:
            raise InvalidField("experiment_overrides", f"no experiment {name!r} runs")
        if variant not in known[name].variants:
            raise InvalidField("experiment_overrides", f"experiment {name!r} has no variant {variant!r}")


def assigned(
    experiments: tuple[Experiment, ...], request: messages.RecommendRequest | messages.RankRequest, taste: Taste
) -> tuple[Taste, list[str]]:
    """The taste that the shopper's variants make of the shop's, and those as "experiment:variant"."""
    shopper, names = shopper_id(request), []
    for experiment in experiments:
        variant = request.experiment_overrides.get(experiment.id) or (experiment.variant_of(shopper) if shopper else "")
        if variant:
            taste = experiment.variants[variant].applied(taste)
            names.append(f"{experiment.id}:{variant}")
    return taste, names
