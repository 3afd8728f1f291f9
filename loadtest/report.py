"""A verdict as files beside its run: verdict.json for machines, summary.csv for tables, report.html for people.

Choices: the page says the verdict first, then the reason in a sentence, then where to look; one file without script or
network; its style is that of the evaluation's page (training/templates/report.css).
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.atomic import write_atomically
from loadtest.figures import FIGURES, figures_of
from loadtest.levels import Levels
from loadtest.recording import Mark, RunFacts
from loadtest.report_parts import charts_of, findings_part, marks_part, methods_part, stages_part
from loadtest.resampling import BLOCK_SECONDS, RESAMPLES
from loadtest.verdict import Verdict
from training import plots

_TEMPLATES = [Path(__file__).parent / "templates", Path(plots.__file__).parent / "templates"]
_VERDICTS = {"pass": ("Pass.", "better"), "fail": ("Fail.", "worse"), "invalid": ("Invalid run.", "unclear")}


def write_report(
    folder: Path,
    verdict: Verdict,
    calls: pl.DataFrame,
    facts: RunFacts,
    marks: Sequence[Mark],
    levels: Levels,
    accepted: pl.DataFrame | None = None,
) -> list[Path]:
    """Write the three files; their paths.

    Args:
        folder: of the run.
        verdict: on it.
        calls: CALLS, the warm-up included.
        facts: of the run.
        marks: what was done to the deployment meanwhile.
        levels: that it was judged by.
        accepted: CALLS of the run that it was compared with, warm-up left out; None without one.
    """
    figures = beside(figures_of(calls.filter(pl.col("due_s") >= facts.warm_up_seconds)), accepted)
    page = render(verdict, calls, facts, marks, levels, figures)
    texts = {
        "verdict.json": json.dumps(verdict.as_json(), indent=2, allow_nan=False) + "\n",
        "summary.csv": figures.write_csv(),
        "report.html": page,
    }
    return [write_atomically(folder / name, partial(_write, text)) for name, text in texts.items()]


def _write(text: str, path: Path) -> None:
    path.write_text(text)


def beside(figures: pl.DataFrame, accepted: pl.DataFrame | None) -> pl.DataFrame:
    """FIGURES, with those of the accepted run as `accepted_…`; null without one."""
    others = figures_of(accepted) if accepted is not None else pl.DataFrame(schema=FIGURES)
    renamed = others.rename({name: f"accepted_{name}" for name in FIGURES.names() if name not in ("method", "stage")})
    return figures.join(renamed, on=["method", "stage"], how="left", maintain_order="left")


def render(
    verdict: Verdict,
    calls: pl.DataFrame,
    facts: RunFacts,
    marks: Sequence[Mark],
    levels: Levels,
    figures: pl.DataFrame,
) -> str:
    """The page."""
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    word, colour = _VERDICTS[verdict.outcome]
    context: dict[str, Any] = {
        "word": word,
        "colour": colour,
        "verdict": verdict,
        "facts": facts,
        "levels": levels,
        "call_count": f"{figures['calls'][0]:,}",
        "groups": findings_part(verdict.findings),
        "methods": methods_part(figures),
        "stages": stages_part(figures, verdict.ratios),
        "compared": bool(verdict.ratios),
        "charts": charts_of(calls, facts, marks, figures),
        "marks": marks_part(calls, marks, levels),
        "block_seconds": f"{BLOCK_SECONDS:g}",
        "resamples": f"{RESAMPLES:,}",
    }
    return templates.get_template("gate.html.j2").render(context)
