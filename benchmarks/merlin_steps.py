"""The steps of a multi-stage recommender as NVIDIA Merlin's examples chain them inside one Triton request.

user row (Feast) → user tower → FAISS → item rows (Feast, of every candidate) → features → ranker → ordering. What
stands in for what: the bundle's interest tower in ONNX Runtime for the two-tower model's query tower, `features.encode`
for the NVTabular workflow, the bundle's LightGBM ranker, compiled as Aisle compiles it, for DLRM, the best scores for
softmax sampling. Candidates are those of Aisle's own sources, so that both sides rank the same ones. All steps run in
one process, one after the other.
"""

import prometheus_client  # noqa: F401 - first: Feast's import would turn every metric of the process into a file

# isort: split
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features import bundle as files
from features import spec
from features.bundle import open_bundle
from features.clock import to_us
from features.encode import Floats, Shopper, history_ages_days, resolve
from features.feast_repo import open_store, view_name
from features.vocab import Rows
from services.common.towers import pad_history
from services.ranking.ordering import Interest, gather, nearest, propose, rank
from services.ranking.release import Release, load_release

ItemRows = Callable[[Rows], Floats]
"""Features of items float32 [n, I], from the store, for their rows in the bundle int32 [n]."""
FEAST, PIPELINE = "feast", "pipeline"
"""How item rows are read: through Feast's SDK, or all in one pipeline of the Redis client under it."""
_FLOAT_BYTES = 5
"""Of a float in Feast's Value message: its tag, then four bytes."""


class Steps:
    """One loaded shop; a call answers one shopper."""

    def __init__(self, release: Release, root: Path, store: Any, item_rows: ItemRows) -> None:
        """Args:
        release: the bundle's.
        root: the bundle's folder, for its interest tower.
        store: Feast's, with both views materialised.
        item_rows: reads the candidates' features.
        """
        self._release, self._store, self._item_rows = release, store, item_rows
        self._now_us = to_us(release.as_of)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._tower = onnxruntime.InferenceSession(
            str(root / files.INTEREST_TOWER), options, providers=["CPUExecutionProvider"]
        )
        self._user_references = [f"{view_name('user_batch')}:{feature.name}" for feature in spec.USER_FEATURES]
        self._matrix = np.zeros_like(release.model.items.matrix)
        self._items = replace(release.model.items, matrix=self._matrix)

    def __call__(self, user_id: str, count: int) -> tuple[Rows, Floats]:
        """The `count` best rows, int32, and their scores, best first.

        Raises:
            ValueError: the store does not know the shopper.
        """
        release, model = self._release, self._release.model
        shopper = self._shopper(user_id)
        interest = self._interest(shopper)
        together = model.item_to_item.ask(shopper)
        near_rows = nearest(model, shopper, interest, release.limits)
        candidates = gather(propose(model, shopper, together, release.limits), near_rows, release.limits)
        self._matrix[candidates.rows] = self._item_rows(candidates.rows)
        fetched = replace(model, items=self._items)
        ranked = rank(fetched, release.rankers.all_items, shopper, candidates, interest, together, self._now_us).head(
            count
        )
        return ranked.rows, ranked.scores

    def _shopper(self, user_id: str) -> Shopper:
        answer = self._store.get_online_features(
            features=self._user_references, entity_rows=[{"user_id": user_id}]
        ).to_dict()
        if answer["history_item_ids"] == [None]:
            raise ValueError(f"shopper {user_id!r} is not in the online store")
        return resolve({feature.name: answer[feature.name][0] for feature in spec.USER_FEATURES}, self._items)

    def _interest(self, shopper: Shopper) -> Interest:
        history = self._release.model.vectors[shopper.history_rows]
        ages = history_ages_days(shopper, self._now_us)
        vectors, types, ages = pad_history(history, shopper.history_event_types, ages)
        feed = {"history_vectors": vectors[None], "event_types": types[None], "ages_days": ages[None]}
        return Interest(self._tower.run(["interest_vectors"], feed)[0][0], is_fallback=False)


def open_steps(bundle: str, ranker_code: str, feast_dir: str, offline_dir: str, redis: str, items: str) -> Steps:
    """Load a bundle and connect to its stores.

    Args:
        bundle: its folder.
        ranker_code: file with the machine code of its ranker.
        feast_dir: Feast's registry.
        offline_dir: Feast's offline tables.
        redis: the online store, host:port.
        items: FEAST or PIPELINE.
    """
    release = load_release(open_bundle(Path(bundle)), lambda: Path(ranker_code))
    store = open_store(Path(feast_dir), Path(offline_dir), redis)
    ids = release.model.items.vocabulary.ids
    return Steps(release, Path(bundle), store, (through_feast if items == FEAST else through_pipeline)(store, ids))


def through_feast(store: Any, ids: Sequence[str]) -> ItemRows:
    """Item rows as Merlin's QueryFeast reads them: one call of the SDK for all candidates."""
    names = [feature.name for feature in spec.ITEM_FEATURES]
    references = [f"{view_name('item')}:{name}" for name in names]

    def read(rows: Rows) -> Floats:
        answer = store.get_online_features(
            features=references, entity_rows=[{"item_id": ids[row]} for row in rows]
        ).to_dict()
        return np.column_stack([answer[name] for name in names]).astype(np.float32)

    return read


def through_pipeline(store: Any, ids: Sequence[str]) -> ItemRows:
    """The same rows without the SDK: Feast's own keys, one pipeline of HMGET, decoded all at once."""
    online: Any = store.provider.online_store
    view = store.get_feature_view(view_name("item"))
    names, fields = online._generate_hset_keys_for_features(view)
    of_feature = dict(zip(names, fields, strict=False))
    wanted = [of_feature[feature.name] for feature in spec.ITEM_FEATURES]
    keys = online._generate_redis_keys_for_entities(store.config, [_entity_key(name) for name in ids])
    client = online._get_client(store.config.online_store)

    def read(rows: Rows) -> Floats:
        with client.pipeline(transaction=False) as pipe:
            for row in rows:
                pipe.hmget(keys[row], wanted)
            found = pipe.execute()
        values = np.frombuffer(b"".join(b"".join(row) for row in found), np.uint8)
        cells = values.reshape(len(rows), len(wanted), _FLOAT_BYTES)[..., 1:]
        matrix: Floats = np.ascontiguousarray(cells).view("<f4")[..., 0]
        return matrix

    return read


def _entity_key(item_id: str) -> EntityKey:
    return EntityKey(join_keys=["item_id"], entity_values=[Value(string_val=item_id)])
