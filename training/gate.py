"""The gate: `python -m training.gate --data complete-journey --candidate bundles/VERSION` judges a bundle against the
one that serves, on the weeks after the later of their cutoffs, and promotes it if it passes.

Choices:
- Both are asked as they would serve from that instant on: shoppers as they are then, each bundle with its own
  vectors, columns, index and ranker. An older bundle's columns are as old as it is; that is what serving it costs.
- A truth or a place is an item of the shop, whichever bundle knows it: an item that a bundle left out is one it
  cannot show, not one that nobody asks for.
- The data must reach beyond the candidate's cutoff. For a nightly run: train up to a week ago, judge on that week.

The rules are in verdict.py.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from features import bundle as files
from features.adapters import load
from features.bundle import Bundle, BundleError, open_bundle, promote, serving_path
from features.schema import Dataset
from features.vocab import Rows, Vocabulary
from services.ranking.ordering import NO_ROWS, CandidateLimits, Interest, OrderingModel, Rankers, open_model
from training.evaluation import model_lists
from training.export import onnx_interest_run
from training.judgement import Judgement, judge
from training.progress import log_to_terminal
from training.queries import InterestRun, Window, interests_of, open_window
from training.shopper_metrics import ALL, NEW, ItemFacts
from training.slices import attribute_groupings, history_grouping
from training.verdict import CANDIDATE, SERVING, GateLimits, Verdict, reason_of, weigh

log = logging.getLogger("training.gate")

TASKS = (ALL, NEW)
WEEKS = 4
"""Length of the window that both are judged on."""


@dataclass(frozen=True, slots=True)
class Contender:
    """What answers: a bundle in memory, or one that is not written yet."""

    items: pl.DataFrame
    """The ITEMS table, in the order of its rows."""
    model: OrderingModel
    rankers: Rankers
    limits: CandidateLimits
    interest: InterestRun

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> "Contender":
        """From the bundle's own files."""
        return cls(
            items=pl.read_parquet(bundle.path(files.ITEMS)),
            model=open_model(bundle),
            rankers=Rankers.load(bundle),
            limits=CandidateLimits(**bundle.manifest["config"]["candidates"]),
            interest=onnx_interest_run(bundle.path(files.INTEREST_TOWER)),
        )


def judge_pair(
    data: Dataset, candidate: Contender, serving: Contender, instant: datetime, weeks: int, seed: int
) -> Judgement:
    """Both on the same shoppers: everybody with an event in the `weeks` from `instant` on.

    Raises:
        ValueError: if nobody has one.
    """
    shop = _all_items(data, candidate.items, serving.items)
    asked = open_window(data, shop, instant, weeks).queries
    if not asked:
        raise ValueError(f"{data.name}: no event in the {weeks} weeks after {instant:%Y-%m-%d}; nothing to judge by")
    user_ids = [query.user_id for query in asked]
    lists: dict[str, dict[str, list[Rows]]] = {task: {} for task in TASKS}
    for name, contender in ((CANDIDATE, candidate), (SERVING, serving)):
        for task, found in _lists(data, contender, shop, instant, weeks).items():
            lists[task][name] = [found.get(user, NO_ROWS) for user in user_ids]
    return judge(
        lists,
        asked,
        ItemFacts(count=shop.height, flagged=shop["sensitive"].to_numpy()),
        seed,
        groupings=[
            history_grouping([query.seen.size for query in asked]),
            *attribute_groupings(data.users, user_ids),
        ],
        ours=CANDIDATE,
    )


def _all_items(data: Dataset, *tables: pl.DataFrame) -> pl.DataFrame:
    """The shop's items, as it describes them now, and what only a bundle remembers."""
    return pl.concat([data.items, *tables]).unique("item_id", keep="first", maintain_order=True).sort("item_id")


def _lists(
    data: Dataset, contender: Contender, shop: pl.DataFrame, instant: datetime, weeks: int
) -> Mapping[str, dict[str, Rows]]:
    """Task → shopper → the served list, in rows of `shop`; a shopper who asks for nothing that it has is left out."""
    window = open_window(data, contender.items, instant, weeks)
    shoppers = [query.shopper for query in window.queries]
    interests = interests_of(contender.interest, contender.model.vectors, shoppers, window.now_us)
    row_in_shop = Vocabulary(shop["item_id"]).rows(contender.items["item_id"].to_list())
    return {task: _of_task(contender, window, interests, task, row_in_shop) for task in TASKS}


def _of_task(
    contender: Contender, window: Window, interests: Sequence[Interest], task: str, row_in_shop: Rows
) -> dict[str, Rows]:
    found = model_lists(contender.model, contender.rankers, window, interests, contender.limits, task)
    return {query.user_id: row_in_shop[ranked.rows] for query, ranked in zip(window.queries, found, strict=True)}


def judge_bundles(
    data: Dataset, candidate: Bundle, serving: Bundle, weeks: int, limits: GateLimits, seed: int
) -> tuple[Verdict, Judgement]:
    """The verdict on two bundles, from the later cutoff on."""
    instant = max(candidate.as_of, serving.as_of)
    judgement = judge_pair(data, Contender.of_bundle(candidate), Contender.of_bundle(serving), instant, weeks, seed)
    return weigh(judgement, limits, seed), judgement


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exit status 1 when the candidate is refused."""
    options = _parser().parse_args(arguments)
    log_to_terminal()
    candidate = open_bundle(options.candidate)
    against = options.against or serving_root(options.bundles)
    if against is None:
        reason = "gate: the first bundle; nothing to judge it against"
    else:
        reason = _judged(options, candidate, open_bundle(against))
    if options.dry_run:
        log.info("not promoted (--dry-run): %s", reason)
        return
    promote(options.bundles, candidate.version, reason, datetime.now(UTC))
    log.info("promoted %s: %s", candidate.version, reason)


def serving_root(bundles: Path) -> Path | None:
    """Folder of the bundle that serves, None before the first."""
    try:
        return serving_path(bundles)
    except BundleError as error:
        log.info("%s", error)
        return None


def _judged(options: argparse.Namespace, candidate: Bundle, serving: Bundle) -> str:
    """Print and write the verdict; the reason for a promotion, or the end."""
    data = load(options.data, options.cache)
    verdict, judgement = judge_bundles(data, candidate, serving, options.weeks, GateLimits(), options.seed)
    report = {"candidate": candidate.version, "against": serving.version, "data": data.name, "weeks": options.weeks}
    report |= {"override": options.override, **verdict.as_json(), "tasks": judgement.as_json()["tasks"]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    log.info("%s against %s: %s", candidate.version, serving.version, "passed" if verdict.passed else "refused")
    for finding in verdict.refusals:
        log.info("%s", finding)
    if not verdict.passed and options.override is None:
        sys.exit(f"refused; not promoted (see {options.out}; --override REASON promotes regardless)")
    return reason_of(verdict, options.override)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.gate", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER[:ARGUMENT][+live:DIR] (%(default)s)")
    parser.add_argument("--candidate", type=Path, required=True, help="the folder of the bundle to be judged")
    parser.add_argument("--against", type=Path, help="a bundle's folder (default: the serving one)")
    parser.add_argument("--weeks", type=int, default=WEEKS, help="length of the window (default %(default)s)")
    parser.add_argument("--override", metavar="REASON", help="promote even if refused; the reason is logged")
    parser.add_argument("--dry-run", action="store_true", help="judge and write the verdict, but promote nothing")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="where bundles live")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/gate.json"), help="(default %(default)s)")
    return parser


if __name__ == "__main__":
    main()
