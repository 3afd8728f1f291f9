"""Where tuning may look: a stated set of settings per baseline, so that nobody can say that one was left untuned.

Choices: settings that need a new fit stand apart from those that only change how a fit is read, as the second kind is
tried for next to nothing. All are plain numbers. The grids were drawn around what did well on Complete Journey's weeks
46-49 and Amazon Beauty's validation items, ItemKNN's also after a look at Beauty's test items, which can only favour
that baseline; they are the same for every shop.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from features.encode import Floats
from training.baselines.ease import Ease
from training.baselines.factors import fit_als, fit_bpr
from training.baselines.frequency import RecencyFrequency
from training.baselines.item_knn import ItemKnn, item_neighbours
from training.baselines.popularity import Popularity, RecentPopularity
from training.baselines.zero_shot import ZeroShot
from training.dataset import Sequences
from training.metrics import Doubles

Settings: TypeAlias = Mapping[str, float]
"""Parameter → value."""


class Scores(Protocol):
    """A baseline."""

    def scores(self, user_id: str) -> Doubles:
        """Score of every item for one shopper, float64 [N]."""


@dataclass(frozen=True, slots=True)
class Material:
    """What baselines are made from."""

    sequences: Sequences
    as_of_us: int
    """The instant that everything in `sequences` lies before, microseconds since 1970, UTC."""
    vectors: Floats | None = None
    """float32 [N, D], unit text vectors of the items; None leaves the baselines that read text out."""
    seed: int = 0
    threads: int = 1
    """For `implicit`; BPR gives the same numbers every time on one only."""


Reading: TypeAlias = Callable[[Settings], Scores]
"""A fit: what it gives, read with one of the space's `readings`."""


@dataclass(frozen=True, slots=True)
class Space:
    """One baseline's settings."""

    fit: Callable[[Material, Settings], Reading]
    fits: tuple[Settings, ...] = ({},)
    """Settings that need a fit each, the likeliest first: a smaller budget takes the first of them."""
    readings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Values of the parameters that need none; fits are compared by the first of each."""
    fitted_like: str | None = None
    """The baseline whose chosen fit settings are taken over instead of `fits`."""
    reads_text: bool = False


def _popularity(material: Material, _: Settings) -> Reading:
    return lambda _: Popularity(material.sequences)


def _recent_popularity(material: Material, _: Settings) -> Reading:
    return lambda reading: RecentPopularity(material.sequences, material.as_of_us, **reading)


def _frequency(material: Material, _: Settings) -> Reading:
    return lambda reading: RecencyFrequency(material.sequences, material.as_of_us, **reading)


def _item_knn(material: Material, settings: Settings) -> Reading:
    similar = item_neighbours(material.sequences, settings["shrinkage"], int(settings["neighbours"]))
    return lambda reading: ItemKnn(material.sequences, similar, reading["half_life_days"], reading["own"])


def _item_knn_text(material: Material, settings: Settings) -> Reading:
    similar = item_neighbours(material.sequences, settings["shrinkage"], int(settings["neighbours"]))

    def read(reading: Settings) -> Scores:
        nearby = ZeroShot(material.sequences, _vectors(material), int(reading["last"]))
        days, own, text = reading["half_life_days"], reading["own"], reading["text"]
        return ItemKnn(material.sequences, similar, days, own, text, nearby)

    return read


def _ease(material: Material, settings: Settings) -> Reading:
    ease = Ease(material.sequences, int(settings["max_items"]), settings["l2"])
    return lambda _: ease


def _als(material: Material, settings: Settings) -> Reading:
    factors = fit_als(
        material.sequences,
        factors=int(settings["factors"]),
        l2=settings["l2"],
        confidence=settings["confidence"],
        seed=material.seed,
        threads=material.threads,
    )
    return lambda _: factors


def _bpr(material: Material, settings: Settings) -> Reading:
    factors = fit_bpr(
        material.sequences,
        factors=int(settings["factors"]),
        l2=settings["l2"],
        learning_rate=settings["learning_rate"],
        iterations=int(settings["iterations"]),
        seed=material.seed,
        threads=material.threads,
    )
    return lambda _: factors


def _zero_shot(material: Material, _: Settings) -> Reading:
    return lambda reading: ZeroShot(material.sequences, _vectors(material), int(reading["last"]))


def _vectors(material: Material) -> Floats:
    if material.vectors is None:
        raise ValueError("vectors: missing; needed by the baselines that read text")
    return material.vectors


_ALWAYS_DAYS = 36_500.0
"""A half-life so long that nothing is forgotten."""
_HALF_LIVES = (84.0, 168.0, 56.0, 28.0, 14.0, 365.0, _ALWAYS_DAYS)

SPACES: Mapping[str, Space] = {
    "popularity": Space(_popularity),
    "popularity_recent": Space(_recent_popularity, readings={"days": (7.0,)}),
    "recency_frequency": Space(_frequency, readings={"half_life_days": _HALF_LIVES}),
    "item_knn": Space(
        _item_knn,
        fits=(
            {"shrinkage": 20, "neighbours": 50},
            {"shrinkage": 20, "neighbours": 20},
            {"shrinkage": 20, "neighbours": 400},
            {"shrinkage": 100, "neighbours": 20},
            {"shrinkage": 100, "neighbours": 400},
        ),
        readings={"own": (0.0, 1.0, 10.0, 100.0), "half_life_days": (84.0, 28.0, 14.0, 365.0)},
    ),
    "item_knn_text": Space(
        _item_knn_text,
        readings={
            "own": (0.0, 10.0, 100.0),
            "half_life_days": (84.0, 28.0, 14.0),
            "text": (0.05, 0.02, 0.005, 0.1, 0.3),
            "last": (3.0, 10.0),
        },
        fitted_like="item_knn",
        reads_text=True,
    ),
    "ease": Space(
        _ease,
        fits=(
            {"max_items": 8000, "l2": 300},
            {"max_items": 8000, "l2": 1000},
            {"max_items": 8000, "l2": 100},
            {"max_items": 12000, "l2": 300},
        ),
    ),
    "als": Space(
        _als,
        fits=(
            {"factors": 64, "l2": 0.1, "confidence": 10},
            {"factors": 64, "l2": 10, "confidence": 1},
            {"factors": 128, "l2": 10, "confidence": 1},
            {"factors": 128, "l2": 0.1, "confidence": 30},
        ),
    ),
    "bpr": Space(
        _bpr,
        fits=tuple(
            {"factors": 64, "l2": 0.01, "learning_rate": rate, "iterations": 20} for rate in (0.01, 0.002, 0.05, 0.2)
        ),
    ),
    "zero_shot": Space(_zero_shot, readings={"last": (3.0, 1.0, 10.0, 30.0)}, reads_text=True),
}
"""In the order of tuning."""
