"""The online feature store: rows in (materialise, push) and one shopper's row out, through Feast.

Choices, measured with Feast 0.67 and Valkey 9.1 on two cores:
- Rows go in as protos through the provider's `online_write_batch`: 2,469 shoppers in .8 s and 24,500 items in 1.7 s,
  against 1.7 + 2.4 s for `write_to_online_store` and 7.4 + 2.5 s for `materialize`; no value passes through pandas.
- Materialising overwrites: otherwise a second run at the same instant, or going back to an older bundle, is dropped in
  silence. Pushing keeps Feast's rule: a row that is not newer than the stored one is dropped; but within the store, in
  one step, where Feast reads, decides and writes. What is written are the bytes that Feast would write, a third of its
  CPU, by the Redis store's own keys.
- A shopper is read from both views in one HMGET, by the Redis store's own keys and decoding, with the views looked up
  when the reader is made: half the CPU of two `online_read_async`, which themselves take half the time of
  `get_online_features_async` with `to_dict`. Feast is pinned for it, and tests hold it to what Feast's own calls wrote.
- Each read has a deadline of its own, whatever redis-py's timeouts are; of those that it cuts one runs on, by which the
  client of a cluster notices that a server is dead.

This package does not know how a value is computed (transforms) nor what it is used for (encode).
"""

import prometheus_client  # noqa: F401 - first: Feast's import would turn every metric of the process into a file

# isort: split
from features.feast_repo import define, open_store
from features.offline import write_offline
from features.store.asking import StoreUnavailable, close_store
from features.store.shoppers import UserEraser, UserReader, UserWriter
from features.store.tables import materialise, read_items, take_back

__all__ = [
    "StoreUnavailable",
    "UserEraser",
    "UserReader",
    "UserWriter",
    "close_store",
    "define",
    "materialise",
    "open_store",
    "read_items",
    "take_back",
    "write_offline",
]
