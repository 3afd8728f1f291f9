"""`make demo`: the whole suite on this machine, and what it recommends to three shoppers, by name.

`python -m services.demo --data complete-journey [--once]`; needs a promoted bundle.
"""

import argparse
import sys
from collections.abc import Sequence

import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages

from features import bundle as files
from features.adapters import load
from features.bundle import Bundle, open_bundle, serving_path
from features.schema import Dataset
from features.transforms import known_events
from services.client import RecommendationClient
from services.common.process import ProcessError
from services.stack import add_options, config_of, running_stack, wait_for_signal

_SHOPPERS = 3
_RECENT = 8
_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Start, ask, print; then stay until Ctrl-C, or leave with `--once`."""
    parser = argparse.ArgumentParser(prog="python -m services.demo", description=__doc__)
    add_options(parser)
    parser.add_argument("--once", action="store_true", help="stop everything after printing")
    options = parser.parse_args(arguments)
    config = config_of(options)
    try:
        with running_stack(config) as stack:
            address = stack.addresses["ranking"]
            show(load(config.data, config.build / "data"), open_bundle(serving_path(config.bundles)), address)
            print(f"\nRecommendationService (gRPC, with reflection) at {address}")
            print(f"EventService and CatalogService at {stack.addresses['ingest']}")
            if not options.once:
                print("Ctrl-C stops everything.")
                wait_for_signal()
    except ProcessError as error:
        sys.exit(f"demo: {error}")


def show(data: Dataset, bundle: Bundle, address: str) -> None:
    """Print some shoppers' latest purchases and their recommendations."""
    titles = dict(pl.read_parquet(bundle.path(files.ITEMS), columns=["item_id", "title"]).iter_rows())
    known = known_events(data.events, bundle.as_of).filter(pl.col("item_id").is_in(list(titles)))
    label = " (a synthetic shop)" if data.synthetic else ""
    print(f"\nBundle {bundle.version}: {len(titles):,} items, {data.name}{label}, up to {bundle.as_of:%d %B %Y}")
    with RecommendationClient(address, timeout_seconds=5.0) as client:
        for user_id in middling_shoppers(known):
            recent = known.filter(pl.col("user_id") == user_id)["item_id"].tail(_RECENT).to_list()
            print(f"\nShopper {user_id} latest had:  " + " · ".join(titles[item_id] for item_id in reversed(recent)))
            request = messages.RecommendRequest(
                placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id=user_id, page_size=_SHOWN
            )
            print_reply(client.recommend(request), titles)


def middling_shoppers(known: pl.DataFrame) -> list[str]:
    """Shoppers at the quartiles of the number of events; the same ones every time."""
    ranked = known["user_id"].value_counts().sort("count", "user_id")["user_id"]
    return [ranked[len(ranked) * place // (_SHOPPERS + 1)] for place in range(1, _SHOPPERS + 1)]


def print_reply(reply: messages.RecommendResponse, titles: dict[str, str]) -> None:
    """One line per item: score, interest score, source, name."""
    for place, result in enumerate(reply.results, start=1):
        source = messages.CandidateSource.Name(result.source).removeprefix("CANDIDATE_SOURCE_").lower()
        interest = f"{result.interest_score:6.2f}" if result.HasField("interest_score") else "     -"
        scores = f"{result.score:7.3f}  interest {interest}"
        print(f"  {place:>2}. {scores}  {source:<14} {titles[result.item_id]}")
    timings = ", ".join(f"{name} {value:.1f}" for name, value in sorted(reply.stage_timings_ms.items()))
    degraded = ", ".join(messages.Degradation.Name(step) for step in reply.degradations)
    print(f"      ms: {timings}" + (f"; degraded: {degraded}" if degraded else ""))


if __name__ == "__main__":
    main()
