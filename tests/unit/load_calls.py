"""CALLS made up: a shop's calls on a machine that other work shares, with faults to be planted in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from loadtest.recording import CALLS, FRESHNESS, RunFacts

FACTS = RunFacts(
    environment="local",
    profile="smoke",
    target="127.0.0.1:8010",
    started="2026-11-28T12:00:00Z",
    warm_up_seconds=10.0,
    seconds=60.0,
    visits_per_second=15.0,
    seed=0,
    workers=1,
    generator_cpu_share=0.2,
    late_p99_ms=4.0,
)
METHODS: Mapping[str, float] = {
    "Recommend/HOME": 0.3,
    "Recommend/SIMILAR": 0.25,
    "Recommend/CART": 0.1,
    "Rank/SEARCH": 0.1,
    "WriteEvents": 0.25,
}
"""Method → its share of the calls."""
STAGES_MS: Mapping[str, float] = {"features": 0.5, "interest": 1.2, "candidates": 0.6, "ranking": 3.0, "shaping": 0.2}


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What a made run is like."""

    seconds: float = 60.0
    per_second: float = 60.0
    methods: Mapping[str, float] = field(default_factory=lambda: METHODS)
    slower_ms: Mapping[str, float] = field(default_factory=dict)
    """Stage → what is planted in it, milliseconds."""
    scale: float = 1.0
    """Of every stage's time."""
    error_share: float = 0.0
    stale_from_s: float | None = None
    """No event becomes a feature from then on; replies say so half a minute later."""
    probes_per_second: float = 1.0
    bundle: str = "shop-w49"
    busy_seconds: int = 3
    """How many seconds of the run other work slows the machine down, fourfold."""

    def calls(self, seed: int) -> pl.DataFrame:
        """CALLS."""
        rng = np.random.default_rng(seed)
        n = rng.poisson(self.seconds * self.per_second)
        due = np.sort(rng.uniform(0, self.seconds, n))
        slowed = self._weather(rng)[due.astype(int)]
        names = list(self.methods)
        shares = np.array(list(self.methods.values()))
        method = rng.choice(len(names), n, p=shares / shares.sum())
        failed = rng.random(n) < self.error_share
        rows = [self._call(rng, float(due[i]), names[method[i]], float(slowed[i]), bool(failed[i])) for i in range(n)]
        probe_count = int(self.seconds * self.probes_per_second)
        rows += [self._probe((place + 0.5) / self.probes_per_second) for place in range(probe_count)]
        return pl.DataFrame(sorted(rows, key=lambda row: row["done_s"]), schema=CALLS)

    def _weather(self, rng: np.random.Generator) -> Any:
        """Per second, by how much the machine is slower than it could be: neighbouring seconds are alike."""
        size = int(self.seconds) + 1
        drift = np.exp(np.cumsum(rng.normal(0, 0.02, size)) * 0.3 + rng.normal(0, 0.05, size) + rng.normal(0, 0.08))
        start = rng.integers(0, max(size - self.busy_seconds, 1))
        drift[start : start + self.busy_seconds] *= 4
        return drift

    def _call(self, rng: np.random.Generator, due: float, method: str, slowed: float, failed: bool) -> dict[str, Any]:
        ranked = not method.startswith("WriteEvents")
        spread = slowed * rng.lognormal(0, 0.35)
        work = STAGES_MS if ranked else {}
        stages = {name: self.scale * ms * spread * rng.lognormal(0, 0.2) for name, ms in work.items()}
        for name, ms in self.slower_ms.items():
            if name in stages:
                stages[name] += ms
        inside = sum(stages.values())
        late = rng.exponential(0.2)
        waited = inside + late + self.scale * spread * (1.0 if ranked else 2.0)
        told = stages | {"total": inside} if ranked and not failed else {}
        stale = self.stale_from_s is not None and due > self.stale_from_s + 30
        return {
            "due_s": due,
            "sent_s": due + late / 1e3,
            "done_s": due + waited / 1e3,
            "method": method,
            "journey": "browse",
            "code": "INTERNAL" if failed else "OK",
            "degradations": ["STALE_FEATURES"] if told and stale else [],
            "stages": [{"stage": name, "ms": ms} for name, ms in told.items()],
            "bundle": self.bundle if told else None,
            "worker": "worker-0",
        }

    def _probe(self, due: float) -> dict[str, Any]:
        never = self.stale_from_s is not None and due > self.stale_from_s
        return {
            "due_s": due,
            "sent_s": due,
            "done_s": due + (10.0 if never else 0.2),
            "method": FRESHNESS,
            "journey": "probe",
            "code": "DEADLINE_EXCEEDED" if never else "OK",
            "degradations": [],
            "stages": [],
            "bundle": None,
            "worker": "worker-0",
        }


def facts(**changed: Any) -> RunFacts:
    """FACTS, but for some."""
    return replace(FACTS, **changed)


def call(due: float, ms: float = 5.0, *, method: str = "Recommend/HOME", code: str = "OK", late_ms: float = 0.0,
    degradations: Sequence[str] = (), stages: Mapping[str, float] | None = None, bundle: str | None = "shop-w49",
) -> dict[str, Any]:  # fmt: skip
    """One row of CALLS."""
    return {
        "due_s": due,
        "sent_s": due + late_ms / 1e3,
        "done_s": due + ms / 1e3,
        "method": method,
        "journey": "browse",
        "code": code,
        "degradations": list(degradations),
        "stages": [{"stage": name, "ms": float(spent)} for name, spent in (stages or {}).items()],
        "bundle": bundle,
        "worker": "worker-0",
    }


def frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """CALLS of rows."""
    return pl.DataFrame(list(rows), schema=CALLS)
