"""What one bundle is in a ranking process: immutable, taken once per request, so that no reply mixes two bundles."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from features import bundle as files
from features.bundle import Bundle, BundleError, open_bundle, serving_path
from services.common.towers import TowerModels
from services.ranking.ordering import CandidateLimits, OrderingModel, Rankers, open_model


@dataclass(frozen=True, slots=True)
class Release:
    """One bundle, loaded."""

    version: str
    as_of: datetime
    """The instant its features know everything before."""
    model: OrderingModel
    rankers: Rankers
    limits: CandidateLimits
    """The candidate limits the ranker was trained on."""
    towers: TowerModels
    """The names of its towers in Triton."""


def open_release(bundles: Path) -> Release:
    """Verify and load the bundle that the pointer names; its ranker's code is made here.

    Raises:
        BundleError: naming the file that is missing, altered or does not fit.
    """
    return load_release(open_bundle(serving_path(bundles)))


def load_release(bundle: Bundle, ranker_code: Callable[[], Path | None] = lambda: None) -> Release:
    """Load a bundle.

    Args:
        bundle: From `open_bundle`, which has verified it.
        ranker_code: Asked last, for the file with the ranker's machine code; None: it is made and not kept.

    Raises:
        BundleError: naming the file that does not fit.
    """
    rankers, model = Rankers.load(bundle), open_model(bundle)
    rankers.all_items.compile(ranker_code())  # now rather than within the first request
    return Release(
        version=bundle.version,
        as_of=bundle.as_of,
        model=model,
        rankers=rankers,
        limits=_limits(bundle),
        towers=TowerModels.of_version(bundle.version),
    )


def _limits(bundle: Bundle) -> CandidateLimits:
    try:
        return CandidateLimits(**bundle.manifest["config"]["candidates"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{bundle.root / files.MANIFEST}: config.candidates: {error!r}") from error
