"""Who likes what in the synthetic shop: the truth that a recommender has to find.

Choices: each user has one taste and, within it, leanings towards kinds of products (a runner may care for watches more
than for shoes); each item has one taste, one kind and a popularity that falls with its rank (Zipf). What a user thinks
of an item of the own taste is the sum of both, and the share of the attention it gets is the exponential of that.

Knows nothing of time, text or tables. Letters in shapes: U users, I items, K kinds of products of a taste.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from features.synthetic_tastes import TASTES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_LAUNCH_RANK = 5
_CADENCES_DAYS = (7, 14, 21)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticConfig:
    """Size and habits of the shop.

    Raises:
        ValueError: A value is out of its range; names the field.
    """

    user_count: int = 200
    item_count: int = 400
    taste_count: int = 8
    """At most 12: as many as there are vocabularies."""
    weeks: int = 12
    seed: int = 0
    new_item_count: int = 8
    """Items that come in with the last week and are popular at once."""
    staple_count: int = 2
    """Supplies that each user buys again at a steady pace."""
    sessions_per_week: float = 1.5
    """Mean visits of a user a week, besides those for staples."""
    views_per_session: float = 6.0
    taste_share: float = 0.9
    """Share of views that go to the own taste; the rest goes to anything, by popularity."""
    zipf_exponent: float = 1.0
    leaning: float = 0.7
    """Standard deviation of a user's leanings, on the scale of log popularity."""
    click_rate: float = 0.4
    """Share of views of the own taste that are clicked; likewise for the next two steps of the funnel."""
    cart_rate: float = 0.4
    purchase_rate: float = 0.6
    stray_factor: float = 0.4
    """What click and cart rates of items of another taste are multiplied with."""

    def __post_init__(self) -> None:
        least = {"seed": 0, "new_item_count": 0, "staple_count": 0}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and value < least.get(field.name, 1):
                raise ValueError(f"{field.name}: {value} is below {least.get(field.name, 1)}")
            if field.type is float and value < 0:
                raise ValueError(f"{field.name}: {value} is below 0")
        for name in ("taste_share", "click_rate", "cart_rate", "purchase_rate", "stray_factor"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name}: {getattr(self, name)} is above 1")
        if self.views_per_session < 1:
            raise ValueError(f"views_per_session: {self.views_per_session} is below 1")
        if self.taste_count > min(len(TASTES), self.item_count):
            raise ValueError(f"taste_count: {self.taste_count} is above {min(len(TASTES), self.item_count)}")
        if self.new_item_count >= self.item_count:
            raise ValueError(f"new_item_count: {self.new_item_count} is not below item_count {self.item_count}")


@dataclass(frozen=True, slots=True)
class World:
    """Users and items by row."""

    item_taste: Ints
    """(I,) row in TASTES."""
    item_number: Ints
    """(I,) 0, 1, … within the taste."""
    item_kind: Ints
    """(I,) row of the product noun within the taste, goods before supplies."""
    is_supply: Flags
    """(I,)"""
    is_new: Flags
    """(I,) comes in with the last week."""
    popularity: Floats
    """(I,) log of the weight within the taste."""
    cadence_days: Ints
    """(I,) days after which a supply has run out."""
    user_taste: Ints
    """(U,) row in TASTES."""
    leanings: Floats
    """(U, K)"""
    activity: Floats
    """(U,) factor on the visits a week, mean about 1."""

    def utility(self, users: Ints, items: Ints) -> Floats:
        """What users (rows, shape (u,)) think of items (rows, shape (i,)) of their own taste: shape (u, i)."""
        return self.popularity[items] + self.leanings[users][:, self.item_kind[items]]


def make_world(config: SyntheticConfig, rng: np.random.Generator) -> World:
    """Draw a shop's users and items; tastes are of equal size and lie mixed among the rows."""
    item_taste = rng.permutation(np.arange(config.item_count) % config.taste_count)
    item_number, rank = np.empty_like(item_taste), np.empty_like(item_taste)
    for taste in range(config.taste_count):
        rows = np.flatnonzero(item_taste == taste)
        item_number[rows] = np.arange(rows.size)
        rank[rows] = rng.permutation(rows.size) + 1
    is_new = np.zeros(config.item_count, dtype=np.bool_)
    is_new[rng.choice(config.item_count, config.new_item_count, replace=False)] = True
    rank[is_new] = _LAUNCH_RANK
    good_counts = np.array([len(taste.goods) for taste in TASTES])
    kind_counts = good_counts + [len(taste.supplies) for taste in TASTES]
    item_kind = item_number % kind_counts[item_taste]
    return World(
        item_taste=item_taste,
        item_number=item_number,
        item_kind=item_kind,
        is_supply=item_kind >= good_counts[item_taste],
        is_new=is_new,
        popularity=-config.zipf_exponent * np.log(rank),
        cadence_days=rng.choice(_CADENCES_DAYS, config.item_count),
        user_taste=rng.permutation(np.arange(config.user_count) % config.taste_count),
        leanings=rng.normal(0, config.leaning, (config.user_count, kind_counts.max())),
        activity=rng.lognormal(-0.125, 0.5, config.user_count),
    )
