"""Whether every figure that autoscalers, alerts and the adapter name is exported, by those it is asked of."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.k8s.exporters import all_figures, exported_by
from tests.k8s.manifests import Finding, Object, Objects, of_kind, pods_of, scales, title

_SERIES = re.compile(r"\b(?:aisle|nv)_[a-z0-9_]+")


def check_scaling(objects: Objects) -> list[Finding]:
    """`hpa-metric-nobody-exports`: not among what the adapter makes of exported figures; `hpa-metric-of-other-pods`:
    what it is made of is not exported by the pods that are scaled."""
    made = {rule["name"]["as"]: _named(rule["seriesQuery"] + rule["metricsQuery"]) for rule in _rules(objects)}
    found = []
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        scaled = [pods for pods in pods_of(objects) if scales(one, pods.owner)]
        for kind, name in _wanted(one):
            figures = made.get(name, set())
            if not figures or figures - all_figures():
                found.append(Finding("hpa-metric-nobody-exports", title(one), name))
            elif kind == "Pods" and any(figures - exported_by(objects, pods) for pods in scaled):
                found.append(Finding("hpa-metric-of-other-pods", title(one), name))
    return found


def check_figures(objects: Objects) -> list[Finding]:
    """`figure-nobody-exports`: in the configuration of Prometheus or of the adapter."""
    return [
        Finding("figure-nobody-exports", title(one), f"{key}: {name}")
        for one in of_kind(objects, "ConfigMap")
        for key, text in (one.get("data") or {}).items()
        if key.endswith((".yml", ".yaml"))
        for name in sorted(_named(text) - all_figures())
    ]


def _wanted(scaler: Object) -> Iterator[tuple[str, str]]:
    """Kind and name of each figure that is not Kubernetes' own."""
    for metric in scaler["spec"].get("metrics", ()):
        if metric["type"] != "Resource":
            yield metric["type"], metric[metric["type"].lower()]["metric"]["name"]


def _rules(objects: Objects) -> list[dict[str, Any]]:
    texts = [
        one["data"]["rules.yaml"] for one in of_kind(objects, "ConfigMap") if "rules.yaml" in (one.get("data") or {})
    ]
    return [rule for text in texts for rule in yaml.safe_load(text)["rules"]]


def _named(text: str) -> set[str]:
    return set(_SERIES.findall(text))
