"""What a container may do, and what it must say about itself."""

import re

from tests.k8s.manifests import Finding, Objects, pods_of, title
from tests.k8s.quantities import quantity

GPU = "nvidia.com/gpu"
_AMOUNTS = ("cpu", "memory", "ephemeral-storage")
_TAG = re.compile(r"(?:.+/)?[^/:@]+:(?P<tag>[^/:@]+)(?:@sha256:[0-9a-f]{64})?|.+@sha256:[0-9a-f]{64}")


def check_images(objects: Objects) -> list[Finding]:
    """`latest-tag`: an image that is another one tomorrow."""
    found = []
    for pods in pods_of(objects):
        for container in pods.containers():
            match = _TAG.fullmatch(container["image"])
            if match is None or match["tag"] == "latest":
                found.append(Finding("latest-tag", title(pods.owner), container["image"]))
    return found


def check_rights(objects: Objects) -> list[Finding]:
    """`privileged`, `writable-root`, `root-user`: more than the restricted level of pod security, and a root that
    cannot be written."""
    found = []
    for pods in pods_of(objects):
        own = pods.spec.get("securityContext", {})
        for container in pods.containers():
            where, rights = f"{title(pods.owner)}/{container['name']}", container.get("securityContext", {})
            dropped = rights.get("capabilities", {}).get("drop", ())
            if rights.get("privileged") or rights.get("allowPrivilegeEscalation", True) or "ALL" not in dropped:
                found.append(Finding("privileged", where, f"{rights}"))
            if not rights.get("readOnlyRootFilesystem"):
                found.append(Finding("writable-root", where, "readOnlyRootFilesystem is not true"))
            if not own.get("runAsNonRoot") or not {**own, **rights}.get("runAsUser"):
                found.append(Finding("root-user", where, f"{own}"))
    return found


def check_resources(objects: Objects) -> list[Finding]:
    """`no-limits`: without requests and limits of both; `gpu-request-differs`: a GPU cannot be promised by half."""
    found = []
    for pods in pods_of(objects):
        for container in pods.containers():
            where, resources = f"{title(pods.owner)}/{container['name']}", container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            lacking = [f"{kind} of {part}" for part, given in (("requests", requests), ("limits", limits))
                       for kind in ("cpu", "memory") if kind not in given]  # fmt: skip
            if lacking:
                found.append(Finding("no-limits", where, ", ".join(lacking)))
            if requests.get(GPU) != limits.get(GPU):
                found.append(Finding("gpu-request-differs", where, f"{requests.get(GPU)} and {limits.get(GPU)}"))
    return found


def check_amounts(objects: Objects) -> list[Finding]:
    """`not-a-quantity`: Kubernetes cannot read it; `request-above-limit`: it refuses such a container."""
    found = []
    for pods in pods_of(objects):
        for container in pods.containers():
            where, resources = f"{title(pods.owner)}/{container['name']}", container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            for kind in _AMOUNTS:
                try:
                    asked, limit = (quantity(part.get(kind, 0)) for part in (requests, limits))
                except ValueError as error:
                    found.append(Finding("not-a-quantity", where, f"{kind}: {error}"))
                    continue
                if kind in limits and asked > limit:
                    found.append(Finding("request-above-limit", where, f"{kind}: {requests[kind]} > {limits[kind]}"))
    return found
