"""Every environment variable and every metric of the services, as they are in the code:
`python -m services.reference > services/REFERENCE.md`.

Knows nothing of what the values are used for; their own descriptions say it.
"""

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from services.common.settings import PREFIX, ServiceSettings

_ROOT = Path(__file__).parent
SETTINGS = {
    "ranking": "services.ranking.settings.RankingSettings",
    "retrieval": "services.retrieval.app.RetrievalSettings",
    "ingest": "services.ingest.settings.IngestSettings",
    "updater": "services.ingest.updater.settings.UpdaterSettings",
    "triton": "services.triton.__main__.TritonSettings",
}
_METRICS = ("Counter", "Gauge", "Histogram", "CounterMetricFamily", "GaugeMetricFamily", "HistogramMetricFamily")
_HEAD = """# Settings and metrics

Written by `python -m services.reference`. Settings are read once, at the start; a wrong value is refused by name. A
variable without a service is read by all of them.
"""


class Setting(NamedTuple):
    """One variable of the environment as one service reads it."""

    variable: str
    default: str
    meaning: str


class Metric(NamedTuple):
    """One family of the Prometheus exporters."""

    name: str
    kind: str
    labels: str
    meaning: str


def settings() -> Mapping[Setting, tuple[str, ...]]:
    """Every setting with the services that read it; none for those that all do."""
    readers: defaultdict[Setting, list[str]] = defaultdict(list)
    for service, path in SETTINGS.items():
        module, _, name = path.rpartition(".")
        for setting in _of(getattr(importlib.import_module(module), name)):
            readers[setting].append(service)
    shared = set(_of(ServiceSettings))
    return {setting: () if setting in shared else tuple(names) for setting, names in readers.items()}


def metrics() -> list[Metric]:
    """Every metric that a service's code makes, by name."""
    found = {metric for path in sorted(_ROOT.rglob("*.py")) for metric in _made_in(path)}
    return sorted(found)


def page() -> str:
    """The reference, Markdown."""
    rows = sorted(settings().items(), key=lambda pair: (bool(pair[1]), pair[1], pair[0].variable))
    lines = [
        _HEAD,
        "| variable | default | service | meaning |",
        "|---|---|---|---|",
        *(f"| {one.variable} | {one.default} | {', '.join(names)} | {one.meaning} |" for one, names in rows),
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
        *(f"| {one.name} | {one.kind} | {one.labels} | {one.meaning} |" for one in metrics()),
    ]
    return "\n".join(lines) + "\n"


def _of(cls: type[ServiceSettings]) -> Iterator[Setting]:
    for name, field in cls.model_fields.items():
        default = "(none)" if field.default is None else f"`{field.default}`"
        yield Setting(PREFIX + name.upper(), default, " ".join((field.description or "").split()))


def _made_in(path: Path) -> Iterator[Metric]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _METRICS:
            words = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
            if len(words) == 2:
                kind = node.func.id.removesuffix("MetricFamily").lower()
                name = str(words[0]).removesuffix("_total") + ("_total" if kind == "counter" else "")
                yield Metric(name, kind, _labels(node), " ".join(str(words[1]).split()))


def _labels(call: ast.Call) -> str:
    named = [word.value for word in call.keywords if word.arg in {"labelnames", "labels"}]
    given = [*call.args[2:3], *named]
    return ", ".join(ast.literal_eval(given[0])) if given and isinstance(given[0], ast.List | ast.Tuple) else ""


if __name__ == "__main__":
    print(page(), end="")
