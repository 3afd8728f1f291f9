"""An evaluation as a file for machines and a page for a shop's team, both made of the same figures.

Choices: the page is rendered from the JSON alone, so that an old evaluation can be drawn again; one file without
script, network or external font; charts are inline SVG in the page's own colours, for light, dark and paper.

Knows no model and no data: what it cannot find in the JSON it leaves out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.atomic import write_atomically
from training import wording
from training.judgement import Judgement
from training.metrics import RESAMPLES
from training.report_parts import metrics_of, places_part, task_part, training_part
from training.slices import MIN_SHOPPERS

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What an evaluation was, beside its figures."""

    data: str
    synthetic: bool
    bundle: str
    method: str
    """A sentence: what was known, and what was asked."""
    window: str
    """A few words: what the systems were judged by."""
    shopper_count: int
    item_count: int
    seed: int
    verb: str
    """What shoppers did to the items that count: `bought`."""
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    """Baseline → task → its settings."""
    budget: str = "Their settings are fixed; nothing was tuned."
    """A sentence: how the settings were chosen."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage of training → seconds."""
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """Name of a loss → (step, value)."""


def report_of(run: RunFacts, judgement: Judgement) -> dict[str, Any]:
    """The JSON: `run`, and what Judgement.as_json says."""
    found: dict[str, Any] = json.loads(json.dumps({"run": asdict(run)} | judgement.as_json(), allow_nan=False))
    return found


def write_report(out: Path, report: Mapping[str, Any], judgement: Judgement) -> list[Path]:
    """FILE.json, FILE.html and FILE.parquet (every shopper's own figures); the paths in that order."""
    out.parent.mkdir(parents=True, exist_ok=True)
    page, table = out.with_suffix(".html"), out.with_suffix(".parquet")
    out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    page.write_text(render(report))
    write_atomically(table, judgement.shoppers.write_parquet)
    return [out, page, table]


def render(report: Mapping[str, Any]) -> str:
    """The page.

    Raises:
        KeyError: if the report lacks a part; the message names it.
    """
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["thousands"] = lambda count: f"{count:,.0f}".replace(",", "\u202f")
    return templates.get_template("report.html.j2").render(_context(report))


def _context(report: Mapping[str, Any]) -> dict[str, Any]:
    run, verb = report["run"], report["run"]["verb"]
    accuracy, beside = metrics_of(report)
    headline = _metric(report["headline"], verb)
    baselines = {name for systems in report["tasks"].values() for name in systems} - {report["ours"]}
    return {
        "run": run,
        "verb": verb,
        "headline": headline,
        "ours_title": wording.title_of(report["ours"]),
        "verdicts": [_verdict(report, task) for task in report["tasks"]],
        "tasks": [task_part(report, task) for task in report["tasks"]],
        "accuracy": [_metric(name, verb) for name in accuracy],
        "accuracy_words": [_metric(name, verb) for name in accuracy[: len(wording.ACCURACY)]],
        "beside": [_metric(name, verb) for name in beside],
        "longest": beside[0].partition("@")[2],
        "system_count": 1 + len(baselines),
        "resamples": RESAMPLES,
        "min_shoppers": MIN_SHOPPERS,
        "baselines": [
            {
                "title": wording.title_of(name),
                "settings": [_settings(run["baselines"].get(name, {}).get(task, {})) for task in report["tasks"]],
            }
            for name in sorted(baselines)
        ],
        **places_part(report),
        **training_part(run),
    }


def _metric(metric: str, verb: str) -> dict[str, str]:
    name, words = wording.wording_of(metric)
    said = words.words.format(verb=verb)
    return {"name": name, "words": said[:1].upper() + said[1:]}


def _verdict(report: Mapping[str, Any], task: str) -> wording.Verdict:
    details = report["details"][task]
    against = details["against_best"].get(report["ours"], {}).get(report["headline"])
    return wording.verdict(task, report["ours"], details["best"], against, report["run"]["verb"])


def _settings(settings: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in settings.items()) or "nothing to choose"
