"""Which figures the pods of an overlay export.

Choices: one of our programs exports what the modules make that it imports, if it runs services/common/server.py, which
alone opens the port, and if it is told the port; Triton exports its own figures and no others, also where our program
starts it. Prometheus asks only pods with the annotation, on their port `metrics`.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp

from services import reference
from tests.conftest import REPOSITORY_ROOT
from tests.k8s.manifests import Object, Objects, Pods
from tests.k8s.settings import environment_of, module_of, words_of

TRITON = {"nv_inference_queue_duration_us", "nv_inference_request_success"}
"""Triton's own, as far as they are named."""
ASKED = "aisle.dev/metrics-port"
"""The annotation of pods that Prometheus asks."""

_SERVER = "services.common.server"


@cache
def all_figures() -> set[str]:
    """What anybody could export."""
    return TRITON | _series(reference.metrics())


def exported_by(objects: Objects, pods: Pods) -> set[str]:
    """What Prometheus gets from these pods."""
    ports = [port.get("name") for container in pods.servers() for port in container.get("ports", ())]
    if ASKED not in pods.annotations or "metrics" not in ports:
        return set()
    return {name for container in pods.servers() for name in _exported_by(objects, pods, container)}


def _exported_by(objects: Objects, pods: Pods, container: Object) -> set[str]:
    module = module_of(container)
    if module == "services.triton" or "tritonserver" in words_of(container):
        return TRITON
    is_told = "AISLE_METRICS_PORT" in environment_of(objects, pods, container)
    return _made_by(module) if module is not None and is_told else set()


@cache
def _made_by(module: str) -> set[str]:
    """What the modules make that a program imports, if it exports at all."""
    graph = grimp.build_graph("services", cache_dir=None)
    program = f"{module}.__main__" if f"{module}.__main__" in graph.modules else module
    if program not in graph.modules:
        return set()
    run = graph.find_upstream_modules(program) | {program}
    return _series(one for name in run for one in reference._made_in(_path(name))) if _SERVER in run else set()


def _path(module: str) -> Path:
    path = REPOSITORY_ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _series(made: Iterable[reference.Metric]) -> set[str]:
    """Names of figures, and those of the parts that a histogram has."""
    made = list(made)
    parts = {f"{one.name}_{end}" for one in made if one.kind == "histogram" for end in ("bucket", "count", "sum")}
    return parts | {one.name for one in made}
