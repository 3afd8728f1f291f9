"""Whether every figure that autoscalers, alerts and the adapter name is one that somebody exports."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from services.reference import metrics
from tests.k8s.manifests import Finding, Object, Objects, of_kind, title

TRITON = {"nv_inference_queue_duration_us", "nv_inference_request_success"}
"""Triton's own, as far as they are named."""

_SERIES = re.compile(r"\b(?:aisle|nv)_[a-z0-9_]+")


def check_scaling(objects: Objects) -> list[Finding]:
    """`hpa-metric-nobody-exports`: not among what the adapter makes of exported figures."""
    made = {
        rule["name"]["as"] for rule in _rules(objects) if _unknown(rule["seriesQuery"] + rule["metricsQuery"]) == []
    }
    return [
        Finding("hpa-metric-nobody-exports", title(one), name)
        for one in of_kind(objects, "HorizontalPodAutoscaler")
        for name in _wanted(one)
        if name not in made
    ]


def check_figures(objects: Objects) -> list[Finding]:
    """`figure-nobody-exports`: in the configuration of Prometheus or of the adapter."""
    return [
        Finding("figure-nobody-exports", title(one), f"{key}: {name}")
        for one in of_kind(objects, "ConfigMap")
        for key, text in (one.get("data") or {}).items()
        if key.endswith((".yml", ".yaml"))
        for name in _unknown(text)
    ]


def _wanted(scaler: Object) -> Iterator[str]:
    for metric in scaler["spec"].get("metrics", ()):
        if metric["type"] != "Resource":
            yield metric[metric["type"].lower()]["metric"]["name"]


def _rules(objects: Objects) -> list[dict[str, Any]]:
    texts = [
        one["data"]["rules.yaml"] for one in of_kind(objects, "ConfigMap") if "rules.yaml" in (one.get("data") or {})
    ]
    return [rule for text in texts for rule in yaml.safe_load(text)["rules"]]


def _unknown(text: str) -> list[str]:
    return sorted(set(_SERIES.findall(text)) - _exported())


@cache
def _exported() -> set[str]:
    made = metrics()
    parts = {f"{one.name}_{end}" for one in made if one.kind == "histogram" for end in ("bucket", "count", "sum")}
    return TRITON | parts | {one.name for one in made}
