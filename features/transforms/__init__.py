"""Point-in-time features: what was known about every shopper and item just before an instant.

Everything is a function of the events strictly before `as_of`, in Polars or over sorted arrays; nothing here calls
`now()`. Sums run over sorted rows with kept order, so that two runs agree to the last bit. Promotions count as known
from their first instant: one that starts at `as_of` is not known yet.

This package does not know Feast, the ranker's matrix or item rows: ids in, ids out.
"""

from features.transforms.events import category_name, known_events, regular_prices, weighted
from features.transforms.items import item_features
from features.transforms.shopper_events import EventColumns, ItemFacts, ShopperEvents, numbers_of
from features.transforms.users import shoppers_features, user_features

__all__ = [
    "EventColumns",
    "ItemFacts",
    "ShopperEvents",
    "category_name",
    "item_features",
    "known_events",
    "numbers_of",
    "regular_prices",
    "shoppers_features",
    "user_features",
    "weighted",
]
