"""Point-in-time features: what was known about every shopper and item just before an instant.

Everything is a function of the events strictly before `as_of`, in Polars or over sorted arrays; nothing here calls
`now()`. Sums run over sorted rows with kept order, so that two runs agree to the last bit. Promotions count as known
from their first instant: one that starts at `as_of` is not known yet.

This package does not know Feast, the ranker's matrix or item rows: ids in, ids out.
"""

from features.transforms.events import category_name, known_events, regular_prices, weighted
from features.transforms.items import item_features
from features.transforms.users import ItemFacts, shoppers_features, user_features

__all__ = [
    "ItemFacts",
    "category_name",
    "item_features",
    "known_events",
    "regular_prices",
    "shoppers_features",
    "user_features",
    "weighted",
]
