"""The parts of the report page as plain values for its template: one row per system, group, brand; charts as SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training import wording
from training.exposure import REST
from training.plots import Bar, Role, Span, bar_chart, line_chart, span_chart

Json = Mapping[str, Any]
_WIDEST_PERCENT = 150
"""The scale of groups' differences ends here at the latest."""


def metrics_of(report: Json) -> tuple[list[str], list[str]]:
    """Metrics on accuracy, all at the longest k and two at the shorter ones, and those beside it, at the longest k."""
    first: Json = next(iter(next(iter(report["tasks"].values())).values()))
    named = [name for name in first if "@" in name and not name.endswith("_interval")]
    longest = max(_k(name) for name in named)
    right = [name for name in named if name.partition("@")[0] in wording.ACCURACY]
    others = [name for name in named if name not in right and _k(name) == longest]
    accuracy = [name for name in right if _k(name) == longest or name.startswith(("recall", "ndcg"))]
    order = list(wording.METRICS)
    return (
        sorted(accuracy, key=lambda name: (-_k(name), wording.ACCURACY.index(name.partition("@")[0]))),
        sorted(others, key=lambda name: order.index(name.partition("@")[0])),
    )


def task_part(report: Json, task: str) -> dict[str, Any]:
    """A task's chart, its table of systems and its groups."""
    systems, details = report["tasks"][task], report["details"][task]
    headline, ours, best = report["headline"], report["ours"], details["best"]
    title, lead = wording.TASKS.get(task, (task, ""))
    ordered = sorted(systems, key=lambda name: -(systems[name][headline] or 0.0))
    groups, scale = _groups(details["slices"], ours, best, wording.wording_of(headline)[1].form)
    accuracy, others = metrics_of(report)
    return {
        "key": task,
        "title": title,
        "lead": lead.format(verb=report["run"]["verb"]),
        "shoppers": systems[ordered[0]]["shoppers"],
        "best": best,
        "best_title": wording.title_of(best) if best else "",
        "chart": _systems_chart(systems, ordered, headline, ours, best, title),
        "systems": [
            {
                "title": wording.title_of(name),
                "role": _role(name, ours, best),
                "accuracy": [_cell(systems[name], metric) for metric in accuracy],
                "beside": [_cell(systems[name], metric) for metric in others],
                **_against(details["against_best"].get(name, {}).get(headline), name == best),
            }
            for name in ordered
        ],
        "groups": groups,
        "scale": scale,
    }


def _k(metric: str) -> int:
    return int(metric.partition("@")[2])


def _role(name: str, ours: str, best: str | None) -> Role:
    return "ours" if name == ours else "best" if name == best else "other"


def _cell(system: Json, metric: str) -> dict[str, str]:
    form = wording.wording_of(metric)[1].form
    bounds = wording.interval(system.get(f"{metric}_interval"), form)
    return {"value": wording.number(system[metric], form), "interval": bounds}


def _against(paired: Json | None, is_best: bool) -> dict[str, str]:
    if paired is None or is_best:
        return {"against": wording.NOTHING, "against_interval": "", "outcome": ""}
    return {
        "against": wording.change(paired["ratio"]),
        "against_interval": wording.changes(paired["ratio_interval"]),
        "outcome": wording.outcome(paired),
    }


def _systems_chart(
    systems: Json, ordered: Sequence[str], headline: str, ours: str, best: str | None, task_title: str
) -> str:
    name, metric = wording.wording_of(headline)
    bars = [
        Bar(
            label=wording.title_of(system),
            value=systems[system][headline] or 0.0,
            interval=systems[system][f"{headline}_interval"],
            role=_role(system, ours, best),
            text=wording.number(systems[system][headline], metric.form),
        )
        for system in ordered
    ]
    described = "; ".join(f"{bar.label} {bar.text}" for bar in bars)
    return bar_chart(bars, f"{name} of every system: {task_title}", described, percent=metric.form == "percent")


def _groups(slices: Sequence[Json], ours: str, best: str | None, form: str) -> tuple[list[dict[str, Any]], str]:
    """Groups under their dimension, and in words the scale that their differences are drawn on."""
    if best is None:
        return [], ""
    pairs = [found["paired"] for found in slices if found["paired"]]
    bounds = [100 * (ratio - 1) for pair in pairs for ratio in pair["ratio_interval"] if ratio is not None]
    low, high = (max(min(bounds, default=0.0), -_WIDEST_PERCENT), min(max(bounds, default=0.0), _WIDEST_PERCENT))
    low, high = 10 * math.floor(min(low, -1) / 10), 10 * math.ceil(max(high, 1) / 10)
    dimensions: dict[str, list[dict[str, Any]]] = {}
    for found in slices:
        dimensions.setdefault(found["dimension"], []).append(_group(found, ours, best, form, (low, high)))
    scale = f"{wording.change(1 + low / 100)} to {wording.change(1 + high / 100)}"
    return [{"name": name.replace("_", " "), "groups": groups} for name, groups in dimensions.items()], scale


def _group(found: Json, ours: str, best: str, form: str, scale: tuple[float, float]) -> dict[str, Any]:
    paired, (low, high) = found["paired"], scale
    outcome = wording.outcome(paired)
    bounds: list[Any] = paired["ratio_interval"] if paired else [None, None]

    def across(ratio: float) -> float:
        """Place on a line from 0 to 200."""
        return round(200 * min(max((100 * (ratio - 1) - low) / (high - low), 0.0), 1.0), 1)

    span = None
    if paired and paired["ratio"] is not None and None not in bounds:
        places = {"low": across(bounds[0]), "middle": across(paired["ratio"]), "high": across(bounds[1])}
        span = places | {"zero": across(1.0)}
    return {
        "name": found["group"],
        "shoppers": found["shoppers"],
        "too_small": found["too_small"],
        "ours": wording.number(found["systems"][ours]["mean"], form),
        "best": wording.number(found["systems"][best]["mean"], form),
        "difference": wording.change(paired["ratio"]) if paired else wording.NOTHING,
        "interval": wording.changes(bounds),
        "span": span,
        "outcome": outcome,
        "colour": {"better": "good", "worse": "bad", "unclear": "unclear"}[outcome],
    }


def places_part(report: Json) -> dict[str, Any]:
    """Categories, brands and flagged items under the first task."""
    task = next(iter(report["tasks"]))
    details, ours, verb = report["details"][task], report["ours"], report["run"]["verb"]
    exposure, best = details["exposure"], details["best"]
    brands, categories = exposure["brands"], exposure["categories"]
    return {
        "flagged_words": _flagged_words(report["tasks"][task], exposure["flagged_wanted"], ours, best, verb),
        "categories_chart": _shares_chart(categories, ours, ("in histories", "in lists"), "Categories"),
        "brands_chart": _shares_chart(brands, ours, (f"of what shoppers {verb}", "of places"), "Brands"),
        "brands": _brand_rows(brands, ours, best) if brands else [],
        "brands_best": wording.title_of(best) if best else "",
    }


def _shares_chart(shares: Json | None, ours: str, names: tuple[str, str], title: str) -> str:
    if not shares:
        return ""
    spans = [
        Span(name, wanted, shown)
        for name, wanted, shown in zip(shares["groups"], shares["wanted"], shares["systems"][ours], strict=True)
        if name != REST
    ]
    described = "; ".join(f"{span.label}: {100 * span.wanted:.1f} % and {100 * span.shown:.1f} %" for span in spans)
    return span_chart(spans, names, f"{title}: share {names[0]} and share {names[1]}", described)


def _brand_rows(brands: Json, ours: str, best: str | None) -> list[dict[str, str]]:
    rows = []
    for place, name in enumerate(brands["groups"]):
        shares = {"wanted": brands["wanted"][place], "ours": brands["systems"][ours][place]}
        if best:
            shares["best"] = brands["systems"][best][place]
        rows.append({"name": name} | {key: wording.number(value, "percent") for key, value in shares.items()})
    return rows


def _flagged_words(systems: Json, wanted: float | None, ours: str, best: str | None, verb: str) -> str:
    flagged = {name: metrics[key] for name, metrics in systems.items() for key in metrics if key.startswith("flagged@")
               and not key.endswith("_interval")}  # fmt: skip
    if wanted is None or ours not in flagged:
        return "The shop does not say which of its items are sensitive."
    if wanted == 0.0:
        return "No item that shoppers had is flagged as sensitive."
    shares = f"{wording.number(flagged[ours], 'percent')} of {wording.title_of(ours)}'s places"
    if best:
        shares += f" and {wording.number(flagged[best], 'percent')} of {wording.title_of(best)}'s"
    return (
        f"Items that the shop flagged as sensitive get {shares}; they are {wording.number(wanted, 'percent')} of what "
        f"shoppers {verb} before."
    )


def training_part(run: Json) -> dict[str, Any]:
    """Curves and seconds, as far as the run has them."""
    seconds, curves = run["seconds"], run["curves"]
    bars = [Bar(stage, value, None, "other", f"{value:,.0f}") for stage, value in seconds.items()]
    described = "; ".join(f"{stage} {value:.0f} s" for stage, value in seconds.items())
    return {
        "seconds_chart": bar_chart(bars, "Seconds per stage of training", described) if bars else "",
        "seconds_total": sum(seconds.values()),
        "curves_chart": line_chart(curves, "Training curves", "Loss over steps: " + ", ".join(curves))
        if curves
        else "",
    }
