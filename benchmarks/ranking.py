"""Recommend beside an empty call and beside the Merlin shape; the join of item features beside Feast's SDK.

One caller, one call at a time, sides in turns, the same shoppers on both sides and no core set aside for anybody.
"""

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.merlin import merlin_shape
from benchmarks.merlin_steps import FEAST, PIPELINE, through_feast
from benchmarks.pairs import Compared, alternated, compared, compared_row, p50_ms
from benchmarks.ranking_sides import (
    CALL_SECONDS,
    LISTED,
    Ask,
    empty_server,
    merlin_asked,
    patient_stack,
    recommended,
    shared,
    shop_of,
    shoppers_of,
)
from benchmarks.rows import Row
from features.bundle import open_bundle, serving_path
from features.feast_repo import open_store
from services.client import RecommendationClient
from services.ranking.ordering import OrderingModel, open_model
from services.stack import StackConfig

ITEMS = 500
_MODELS = {"merlin_feast": FEAST, "merlin_pipeline": PIPELINE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int = 20
    calls: int = 20
    """In a round, by each side."""
    warm_up_rounds: int = 3
    shoppers: int = 400
    """Drawn at random, in turn."""
    compared_lists: int = 60
    """Shoppers whose lists of both sides are laid beside each other."""


def rows() -> list[Row]:
    """All rows of the group, over the default bundle and empty stores: of rows that an earlier stack has written live,
    only one side would know."""
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="build", prefix="bench-") as folder:
        config = StackConfig(
            data="complete-journey",
            build=Path(folder),
            data_cache=Path("build/data"),
            ranking_port=0,
            live=False,
            clock="as-of",
        )
        return measured(config)


def measured(config: StackConfig, size: Size = Size()) -> list[Row]:
    """All rows of the group.

    Args:
        config: of the stack that is started; its clock must stand still, so that both sides have the same "now".
        size: how much.
    """
    model = open_model(open_bundle(serving_path(config.bundles)))
    with patient_stack(config) as stack:
        shop = shop_of(config, stack)
        known = shoppers_of(config, size.shoppers)
        with (
            empty_server(config.build) as empty,
            merlin_shape(shop, _MODELS, config.build / "merlin", config.triton_venv) as merlin,
            RecommendationClient(stack.addresses["ranking"], timeout_seconds=CALL_SECONDS) as client,
            RecommendationClient(empty, timeout_seconds=CALL_SECONDS) as empty_client,
        ):
            asked: dict[str, Ask] = {
                "ours": lambda user: recommended(client, user),
                "empty": lambda user: recommended(empty_client, user),
                **{name: merlin_asked(merlin, name, model.items.vocabulary) for name in _MODELS},
            }
            overlap = {name: shared(asked["ours"], asked[name], known[: size.compared_lists]) for name in _MODELS}
            found = alternated(
                {name: _p50_of(ask, known, size.calls) for name, ask in asked.items()}, size.rounds, size.warm_up_rounds
            )
        join = _join(open_store(shop.feast_dir, shop.offline_dir, shop.redis), model, size)
    return [
        _over_empty(compared(found["ours"], found["empty"]), size),
        *(_over_merlin(name, compared(found["ours"], found[name]), overlap[name], size) for name in _MODELS),
        join,
    ]


def _p50_of(ask: Ask, shoppers: Sequence[str], calls: int) -> Callable[[], float]:
    """A round of one side: the next shoppers, one after another; milliseconds."""
    following = itertools.cycle(shoppers)

    def one_round() -> float:
        return p50_ms([partial(ask, user) for user in itertools.islice(following, calls)])

    return one_round


def _join(store: Any, model: OrderingModel, size: Size) -> Row:
    """500 ids to float32 [500, I], from columns in memory and through the SDK.

    Raises:
        ValueError: the two matrices differ.
    """
    rng = np.random.default_rng(4)
    ids = model.items.vocabulary.ids
    rows = rng.choice(len(ids), min(ITEMS, len(ids)), replace=False).astype(np.int32)
    names, read = [ids[row] for row in rows], through_feast(store, ids)

    def from_columns() -> Any:
        return model.items.matrix[model.items.vocabulary.rows(names)]

    if (read(rows) != from_columns()).any():
        raise ValueError("item features from the columns and through Feast differ")
    sides = {"ours": lambda: p50_ms([from_columns] * 100), "feast": lambda: p50_ms([lambda: read(rows)] * 3)}
    found = alternated(sides, size.rounds, size.warm_up_rounds)
    return compared_row(
        "ranking.features_of_500_items",
        compared(found["ours"], found["feast"]),
        unit="ms",
        rival=f"Feast {version('feast')} SDK, get_online_features in the request",
        method=f"The {len(names)} items' {model.items.matrix.shape[1]} features from ids to one float32 matrix, the "
        "same on both sides (checked): from the ranking process's columns, and by get_online_features(...).to_dict() "
        f"from a Valkey on this machine. {size.rounds} rounds of 100 and 3.",
        least=100.0,
    )


def _over_empty(result: Compared, size: Size) -> Row:
    return compared_row(
        "ranking.recommend_over_an_empty_call",
        result,
        unit="ms, p50",
        rival=f"a call of gRPC {grpc.__version__} (asyncio server) that answers the same twenty items always",
        method=f"Recommend of {LISTED} of 300 candidates and the empty call, the same requests by the same client, one "
        f"at a time; {size.rounds} rounds of {size.calls}. Promised: at most eight times the empty call.",
        least=0.125,
        behind="An empty call computes nothing and is the floor under every answer: what is above it is the shopper's "
        "row, Triton's interests, candidates, 45 features of 300 items and the ranker.",
    )


def _over_merlin(model: str, result: Compared, overlap: float, size: Size) -> Row:
    through = (
        "of all candidates through Feast's SDK in the request, as Merlin's QueryFeast does"
        if _MODELS[model] == FEAST
        else "of all candidates in one pipeline of the Redis client without Feast's SDK, which is better than Merlin's"
    )
    return compared_row(
        f"ranking.{model.replace('merlin', 'merlin_shape')}",
        result,
        unit="ms, p50",
        rival=f"Merlin's multi-stage shape, rebuilt in one Triton model (nvidia-pytriton {version_of_triton()}); "
        f"item rows {through}",
        method="Merlin's own packages (merlin-systems 23.8: pandas < 1.6, so numpy 1) exclude this Feast (numpy 2), "
        "hence the rebuilding. One Python-backend model does in turn: the shopper's row by Feast's SDK, user tower "
        "(the bundle's interest tower in ONNX Runtime, in process), FAISS, item rows "
        f"{through}, the features (features.encode for an NVTabular workflow), the bundle's LightGBM ranker, compiled "
        f"(for DLRM), the best {LISTED} by score (for softmax sampling). Equal: bundle, shoppers, instant, candidate "
        f"sources and their limits, one call at a time; no sensitive items are left out. The two lists of {LISTED} "
        f"share {overlap:.1%} of their items (mean of {size.compared_lists} shoppers). "
        f"{size.rounds} rounds of {size.calls}.",
        behind="Aisle's answer crosses three processes (ranking, Triton, Valkey), the other one two: with fewer free "
        "cores than processes each hand-over waits, and the rows of few candidates cost little to fetch.",
    )


def version_of_triton() -> str:
    """Of the wheel, as the lock pins it."""
    lock = (Path(__file__).resolve().parents[1] / "requirements-triton.lock").read_text()
    return next(line.partition("==")[2] for line in lock.splitlines() if line.startswith("nvidia-pytriton=="))
