"""What a gate says: findings, and what follows from them. Knows no run and no rule."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any, Literal, TypeAlias

from loadtest.comparison import Ratio
from loadtest.findings import Check, Finding

Outcome: TypeAlias = Literal["pass", "fail", "invalid"]
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "invalid": 3}
"""2 is a command that was called wrongly."""
OF_THE_RUN: tuple[Check, ...] = ("generator", "measured")
"""Checks that say whether the run says anything about the build."""
_ORDER: tuple[Check, ...] = (
    "generator", "measured", "errors", "freshness", "degraded", "latency", "regression", "recovery", "throughput",
)  # fmt: skip
"""What is told first."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What a failure comes from, and where to look."""

    check: Check
    method: str
    stage: str
    """Of the service; empty where none is to blame."""
    text: str
    """A sentence that names method and stage."""
    where: str
    """A sentence: what to open next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Everything that was looked at."""

    findings: Sequence[Finding]
    """Failed ones first, the gravest of them at the top."""
    causes: Sequence[Cause] = ()
    ratios: Sequence[Ratio] = ()
    """Against the accepted run; empty without one."""
    bundles: Sequence[str] = ()
    """That answered, in that order."""
    accepted_bundles: Sequence[str] | None = None
    """Of the accepted run; None without one."""
    warnings: Sequence[str] = ()
    """What to know before anything else is read."""

    @property
    def failures(self) -> list[Finding]:
        """What speaks against the run."""
        return [finding for finding in self.findings if finding.result == "failed"]

    @property
    def outcome(self) -> Outcome:
        """A run that measured its own generator says nothing about the build, whatever else it shows."""
        if any(finding.check in OF_THE_RUN for finding in self.failures):
            return "invalid"
        return "fail" if self.failures else "pass"

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return EXIT_CODES[self.outcome]

    @property
    def reason(self) -> str:
        """One sentence."""
        failures = self.failures
        if self.outcome == "pass":
            judged = sum(finding.result == "passed" for finding in self.findings)
            beside = "" if self.ratios else "; there was no accepted run to compare it with"
            return f"All {judged} figures that were judged keep to their service levels{beside}."
        if self.outcome == "invalid":
            return f"The run says nothing about the build: {failures[0]}."
        others = f" ({len(failures) - 1} more figures failed)" if len(failures) > 1 else ""
        text = str(failures[0])
        return f"{text[:1].upper()}{text[1:]}{others}."

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "warnings": list(self.warnings),
            "causes": [asdict(cause) for cause in self.causes],
            "bundles": list(self.bundles),
            "accepted_bundles": None if self.accepted_bundles is None else list(self.accepted_bundles),
            "findings": [_finite(asdict(finding)) for finding in self.findings],
            "ratios": [_finite(asdict(ratio)) for ratio in self.ratios],
        }


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Failed ones first, then those passed, then those told; of each the gravest check first, in that what is of all
    calls, then what exceeds its bound most."""
    results = ("failed", "passed", "told")

    def key(finding: Finding) -> tuple[int, int, float]:
        excess = (finding.value or 0.0) / finding.bound if finding.bound else 0.0
        whole = finding.method.startswith("all ")
        return results.index(finding.result), _ORDER.index(finding.check), -inf if whole else -excess

    return sorted(findings, key=key)


def _finite(found: dict[str, Any]) -> dict[str, Any]:
    """Without what JSON has no word for."""

    def kept(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return [kept(one) for one in value]
        return None if isinstance(value, float) and not isfinite(value) else value

    return {name: kept(value) for name, value in found.items()}
