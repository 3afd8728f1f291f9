"""How much production needs: from what a call, an item and a shopper cost to pods, requests and volumes.

Choices: costs are those measured (k8s/README.md says where); what a shopper takes in Valkey follows from the lists of
features/spec.py; a shard lies on one server as a whole, so that the fullest server decides; processes are planned to be
busy for six tenths of the time at the peak, beyond which the slowest calls take many times the usual. Knows nothing of
YAML.
"""

import math
from collections import Counter
from dataclasses import dataclass

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from features.spec import CATEGORY_LENGTH, HISTORY_LENGTH, LEAF_LENGTH, REPEAT_LENGTH, USER_FEATURES

GIB = 2**30
_BYTES = {"int64": 8, "float32": 4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What is asked for, and what things cost."""

    shoppers: int = 10_000_000
    items: int = 1_000_000
    recommends_per_second: float = 5_000.0
    events_per_recommend: float = 1.5
    events_per_shopper: int = 120
    items_per_shopper: int = 80
    leaves_per_shopper: int = 40
    categories_per_shopper: int = 24
    id_bytes: int = 8
    path_bytes: int = 30
    busy_share: float = 0.6
    recommend_cpu_ms: float = 3.39
    recommend_growth: float = 1.31
    process_bytes: float = 460e6
    item_bytes: float = 812.0
    measured_items: int = 24_420
    ingest_event_us: float = 28.0
    updater_events_per_second: float = 1_100.0
    interest_cpu_ms: float = 0.7
    state_event_bytes: float = 68.0
    stored_item_bytes: float = 337.0
    key_bytes: float = 300.0
    seen_id_bytes: float = 46.0
    seen_days: float = 2.0
    mean_over_peak: float = 0.5
    rewrite_share: float = 1.3
    log_share: float = 4.0
    server_bytes: float = 24 * GIB
    bundle_item_bytes: float = 900.0
    bundle_tower_bytes: float = 165e6
    kept_bundles: int = 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """What follows."""

    ranking_at_peak: int
    ranking_least: int
    ranking_most: int
    ranking_memory_mib: int
    ingest_least: int
    updaters: int
    shards: int
    triton_cores: float
    row_bytes: int
    shopper_bytes: int
    seen_bytes: float
    valkey_bytes: float
    valkey_servers: int
    valkey_memory_gib: int
    valkey_most_gib: int
    valkey_fullest_gib: float
    valkey_volume_gib: int
    bundles_gib: int


def row_bytes(inputs: Inputs) -> int:
    """A shopper's row: every stored feature, lists as long as this shop's shoppers fill them."""
    filled = {
        "history_": min(inputs.events_per_shopper, HISTORY_LENGTH),
        "repeat_": min(inputs.items_per_shopper, REPEAT_LENGTH),
        "leaf_": min(inputs.leaves_per_shopper, LEAF_LENGTH),
        "category_": min(inputs.categories_per_shopper, CATEGORY_LENGTH),
    }
    total = 0
    for feature in USER_FEATURES:
        group = next((group for group in filled if feature.name.startswith(group)), "")
        texts = inputs.id_bytes if feature.name.endswith("_item_ids") else inputs.path_bytes
        each = _BYTES.get(feature.dtype.removeprefix("list[").removesuffix("]"), texts)
        total += each * (filled[group] if feature.dtype.startswith("list[") else 1)
    return total


def fullest_share(servers: int, shards: int) -> float:
    """The part of all shards that lies on the server which has the most of them, slots shared out evenly in order."""
    of_server = Counter(key_slot(f"s{one}".encode()) * servers // REDIS_CLUSTER_HASH_SLOTS for one in range(shards))
    return max(of_server.values()) / shards


def sizes(inputs: Inputs) -> Sizes:
    """Pods, memory and volumes."""
    seconds = inputs.recommend_cpu_ms * inputs.recommend_growth / 1000.0
    at_peak = math.ceil(inputs.recommends_per_second * seconds / inputs.busy_share)
    base = inputs.process_bytes - inputs.measured_items * inputs.item_bytes
    two_releases = base + 2 * inputs.items * inputs.item_bytes
    events = inputs.recommends_per_second * inputs.events_per_recommend
    updaters = math.ceil(events / inputs.updater_events_per_second / inputs.busy_share)
    shards = 2 ** math.ceil(math.log2(4 * updaters))
    row, state = row_bytes(inputs), inputs.events_per_shopper * inputs.state_event_bytes
    seen = events * inputs.mean_over_peak * 86_400 * inputs.seen_days * inputs.seen_id_bytes
    spread = inputs.shoppers * (2 * row + inputs.key_bytes) + inputs.items * inputs.stored_item_bytes
    sharded = inputs.shoppers * state + seen
    most_gib = math.floor(inputs.server_bytes / inputs.rewrite_share / GIB)

    def fullest_gib(servers: int) -> float:
        return (spread / servers + sharded * fullest_share(servers, shards)) / GIB

    primaries = next(count for count in range(3, 1_000) if fullest_gib(count) <= most_gib)
    bundle = inputs.items * inputs.bundle_item_bytes + inputs.bundle_tower_bytes
    return Sizes(
        ranking_at_peak=at_peak,
        ranking_least=math.ceil(at_peak / 2),
        ranking_most=math.ceil(at_peak * 1.25),
        ranking_memory_mib=math.ceil(two_releases * 1.2 / 2**28) * 256,
        ingest_least=max(2, math.ceil(events * inputs.ingest_event_us / 1e6 / inputs.busy_share)),
        updaters=updaters,
        shards=shards,
        triton_cores=inputs.recommends_per_second * inputs.interest_cpu_ms / 1000.0 / inputs.busy_share,
        row_bytes=row,
        shopper_bytes=math.ceil(2 * row + inputs.key_bytes + state),
        seen_bytes=seen,
        valkey_bytes=spread + sharded,
        valkey_servers=2 * primaries,
        valkey_memory_gib=math.ceil(inputs.server_bytes / GIB),
        valkey_most_gib=most_gib,
        valkey_fullest_gib=fullest_gib(primaries),
        valkey_volume_gib=math.ceil(fullest_gib(primaries) * inputs.log_share / 32) * 32,
        bundles_gib=math.ceil(bundle * (inputs.kept_bundles + 3) / GIB / 10) * 10,
    )
