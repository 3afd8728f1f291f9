"""What one bundle is in a ranking process: immutable, taken once per request, so that no reply mixes two bundles."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from features import bundle as files
from features.bundle import open_bundle, serving_path
from services.common.towers import TowerModels
from services.ranking.ordering import CandidateLimits, OrderingModel, Ranker, open_model


@dataclass(frozen=True, slots=True)
class Release:
    """One bundle, loaded."""

    version: str
    as_of: datetime
    """The instant its features know everything before."""
    model: OrderingModel
    ranker: Ranker
    limits: CandidateLimits
    """The candidate limits the ranker was trained on."""
    towers: TowerModels
    """The names of its towers in Triton."""


def open_release(bundles: Path) -> Release:
    """Verify and load the bundle that the pointer names.

    Raises:
        BundleError: naming the file that is missing, altered or does not fit.
    """
    bundle = open_bundle(serving_path(bundles))
    return Release(
        version=bundle.version,
        as_of=bundle.as_of,
        model=open_model(bundle),
        ranker=Ranker.load(bundle.path(files.RANKER)),
        limits=CandidateLimits(**bundle.manifest["config"]["candidates"]),
        towers=TowerModels.of_version(bundle.version),
    )
