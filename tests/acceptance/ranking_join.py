"""Line 4: the features of 500 items, from the ranking process's columns and through Feast's SDK."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from features import spec
from features.bundle import open_bundle, serving_path
from features.encode import Floats
from features.feast_repo import view_name
from features.store import open_store
from services.ranking.ordering import open_model
from services.stack import StackConfig, running_stack
from tests.acceptance.ranking_stack import DATA
from tests.acceptance.rows import Row, at_least, at_most, told

ITEMS = 500
OURS_REPEATS = 2000
FEAST_REPEATS = 60
WARM_UP = 10
_BUILD = Path("build")


def feature_join() -> list[Row]:
    """Ids in, a float32 matrix [500, I] out, by either way, over the default bundle and a real Valkey."""
    names = [feature.name for feature in spec.ITEM_FEATURES]
    model = open_model(open_bundle(serving_path(Path("bundles"))))
    item_ids = np.random.default_rng(4).choice(model.items.vocabulary.ids, ITEMS, replace=False).tolist()
    with running_stack(StackConfig(data=DATA, ranking_port=0, live=False)) as stack:
        store = open_store(_BUILD / "feast", _BUILD / "offline", stack.addresses["valkey"])
        references = [f"{view_name('item')}:{name}" for name in names]

        def through_feast() -> Floats:
            answer = store.get_online_features(
                features=references, entity_rows=[{"item_id": name} for name in item_ids]
            ).to_dict()
            return np.column_stack([answer[name] for name in names]).astype(np.float32)

        def from_columns() -> Floats:
            return model.items.matrix[model.items.vocabulary.rows(item_ids)]

        differing = int((through_feast() != from_columns()).sum())
        feast_ms, ours_ms = _p50_ms(through_feast, FEAST_REPEATS), _p50_ms(from_columns, OURS_REPEATS)
    return [
        told("feast_sdk_p50_ms", round(feast_ms, 2)),
        told("columns_p50_ms", round(ours_ms, 4)),
        at_least("times_as_fast", round(feast_ms / ours_ms, 1), 100.0),
        at_most("values_that_differ", differing, 0),
    ]


def _p50_ms(join: Callable[[], Any], repeats: int) -> float:
    for _ in range(WARM_UP):
        join()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        join()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3
