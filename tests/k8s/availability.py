"""What keeps answering while pods come and go."""

import re
from collections.abc import Mapping
from typing import Any

from services.client import _OPTIONS
from tests.k8s.manifests import Finding, Object, Objects, Pods, of_kind, pods_of, scales, selects, title
from tests.k8s.settings import environment_of

_MARGIN_SECONDS = 5.0
_OPTION = dict(_OPTIONS)
CLIENT_KEEPALIVE_SECONDS = (
    float(_OPTION["grpc.keepalive_time_ms"]) + float(_OPTION["grpc.keepalive_timeout_ms"])
) / 1000.0
"""After how long the client notices that nobody answers a connection any more."""
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_PART = re.compile(r"(?P<first>\*|\d+)(?:-(?P<last>\d+))?(?:/(?P<step>\d+))?")


def check_autoscalers(objects: Objects) -> list[Finding]:
    """`hpa-min-above-max`."""
    return [
        Finding("hpa-min-above-max", title(one), f"{one['spec'].get('minReplicas', 1)} > {one['spec']['maxReplicas']}")
        for one in of_kind(objects, "HorizontalPodAutoscaler")
        if one["spec"].get("minReplicas", 1) > one["spec"]["maxReplicas"]
    ]


def check_budgets(objects: Objects) -> list[Finding]:
    """`pdb-both-fields`, `pdb-forbids-every-drain`."""
    found = []
    for one in of_kind(objects, "PodDisruptionBudget"):
        spec = one["spec"]
        if "minAvailable" in spec and "maxUnavailable" in spec:
            found.append(Finding("pdb-both-fields", title(one), "minAvailable and maxUnavailable"))
        taken = [pods for pods in pods_of(objects) if selects(spec.get("selector", {}), pods.labels)]
        count = sum(least_replicas(objects, pods.owner) for pods in taken)
        if _may_go(spec, count) < 1:
            found.append(Finding("pdb-forbids-every-drain", title(one), f"of {count} pods none may go"))
    return found


def least_replicas(objects: Objects, owner: Object) -> int:
    """How many pods a workload has at least."""
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        if scales(one, owner):
            return int(one["spec"].get("minReplicas", 1))
    return int(owner["spec"].get("replicas", 1))


def _may_go(budget: Mapping[str, Any], count: int) -> int:
    """How many of `count` pods may be taken away. Shares are rounded up, as Kubernetes does."""

    def number(value: Any) -> int:
        return -(-count * int(value.rstrip("%")) // 100) if isinstance(value, str) else int(value)

    if "maxUnavailable" in budget:
        return number(budget["maxUnavailable"])
    return count - number(budget.get("minAvailable", 1))


def check_rollouts(objects: Objects) -> list[Finding]:
    """`rollout-cannot-move`: neither more nor fewer pods; `rollout-takes-pods-away`: fewer, while they are replaced."""
    found = []
    for one in of_kind(objects, "Deployment"):
        strategy = one["spec"].get("strategy", {})
        if strategy.get("type") == "Recreate":
            continue
        rolling = strategy.get("rollingUpdate", {})
        surge, away = rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%")
        if surge in (0, "0%") and away in (0, "0%"):
            found.append(Finding("rollout-cannot-move", title(one), "maxSurge and maxUnavailable are 0"))
        elif away not in (0, "0%"):
            found.append(Finding("rollout-takes-pods-away", title(one), f"maxUnavailable {away}"))
    return found


def check_endings(objects: Objects) -> list[Finding]:
    """`grace-shorter-than-drain`: killed while calls are answered; `drain-shorter-than-keep-alive`: a pod behind a
    service goes before its callers have turned to others."""
    found = []
    services = list(of_kind(objects, "Service"))
    for pods in pods_of(objects):
        if pods.runs_to_an_end:
            continue
        for container in pods.spec.get("containers", ()):
            where = f"{title(pods.owner)}/{container['name']}"
            pre_stop, after = _pre_stop_seconds(container), _drain_seconds(objects, pods, container)
            grace = pods.spec.get("terminationGracePeriodSeconds", 30)
            if grace < pre_stop + after + _MARGIN_SECONDS * bool(pre_stop + after):
                found.append(Finding("grace-shorter-than-drain", where, f"{grace} s for {pre_stop} + {after} s"))
            is_called = any(
                port.get("appProtocol") == "grpc" and selects(service["spec"].get("selector", {}), pods.labels)
                for service in services
                for port in service["spec"].get("ports", ())
            )
            if is_called and pre_stop < CLIENT_KEEPALIVE_SECONDS:
                found.append(Finding("drain-shorter-than-keep-alive", where, f"{pre_stop} s"))
    return found


def _pre_stop_seconds(container: Object) -> float:
    return float(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))


def _drain_seconds(objects: Objects, pods: Pods, container: Object) -> float:
    """How long one of our servers takes to end after it is told to."""
    told = environment_of(objects, pods, container)
    return sum(float(told.get(name, 0)) for name in ("AISLE_NOTICE_SECONDS", "AISLE_DRAIN_SECONDS"))


def check_schedules(objects: Objects) -> list[Finding]:
    """`bad-cron`."""
    return [
        Finding("bad-cron", title(one), one["spec"]["schedule"])
        for one in of_kind(objects, "CronJob")
        if not is_cron(one["spec"]["schedule"])
    ]


def is_cron(schedule: str) -> bool:
    """Whether five fields say a time: numbers, lists, ranges and steps."""
    fields = schedule.split()
    return len(fields) == len(_RANGES) and all(
        _is_field(part, *bounds) for field, bounds in zip(fields, _RANGES, strict=True) for part in field.split(",")
    )


def _is_field(part: str, least: int, most: int) -> bool:
    match = _PART.fullmatch(part)
    if match is None:
        return False
    numbers = [int(text) for text in (match["first"], match["last"]) if text not in (None, "*")]
    in_order = numbers == sorted(numbers) and not (match["first"] == "*" and match["last"])
    return in_order and all(least <= number <= most for number in numbers) and match["step"] != "0"
