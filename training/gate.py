"""The gate: `python -m training.gate --data complete-journey --candidate bundles/VERSION` judges a bundle against the
one that serves, on the weeks after the later of their cutoffs, and promotes it if it passes.

Choices:
- Shoppers act on what the serving bundle showed them. What its lists led to therefore counts only where exploration
  drew the item, and apart from what no list led to (propensity.py); one of both has to be enough to judge on.
  `--judge-all-events` counts all alike, which favours what served.
- The data must reach beyond the candidate's cutoff. For a nightly run: train up to a week ago, judge on that week.

How bundles are asked is in contenders.py, the rules are in verdict.py.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from features.adapters import load
from features.bundle import Bundle, BundleError, open_bundle, promote, serving_path
from features.schema import Dataset
from training.contenders import Contender, judge_pair
from training.judgement import Judgement
from training.progress import log_to_terminal
from training.verdict import GateLimits, Verdict, reason_of, weigh

log = logging.getLogger("training.gate")

WEEKS = 4
"""Length of the window that both are judged on."""


def judge_bundles(
    data: Dataset,
    candidate: Bundle,
    serving: Bundle,
    weeks: int,
    limits: GateLimits,
    seed: int,
    *,
    all_events: bool = False,
) -> tuple[Verdict, Judgement]:
    """The verdict on two bundles, from the later cutoff on; `all_events` as in `judge_pair`."""
    instant = max(candidate.as_of, serving.as_of)
    pair = Contender.of_bundle(candidate), Contender.of_bundle(serving)
    judgement = judge_pair(data, *pair, instant, weeks, seed, all_events=all_events)
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
    verdict, judgement = judge_bundles(
        data, candidate, serving, options.weeks, GateLimits(), options.seed, all_events=options.judge_all_events
    )
    report = {"candidate": candidate.version, "against": serving.version, "data": data.name, "weeks": options.weeks}
    report |= {"all_events": options.judge_all_events, "override": options.override, **verdict.as_json()}
    report["tasks"] = judgement.as_json()["tasks"]
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
    parser.add_argument(
        "--judge-all-events", action="store_true", help="count what the serving bundle's lists led to as it is"
    )
    parser.add_argument("--override", metavar="REASON", help="promote even if refused; the reason is logged")
    parser.add_argument("--dry-run", action="store_true", help="judge and write the verdict, but promote nothing")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="where bundles live")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/gate.json"), help="(default %(default)s)")
    return parser


if __name__ == "__main__":
    main()
