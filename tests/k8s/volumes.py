"""Whether the pods that share a volume can mount it wherever they run."""

from tests.k8s.manifests import Finding, Object, Objects, Pods, of_kind, pods_of, scales, title

ONE_MACHINE = "aisle-local"
"""The namespace of overlays/local, all of whose pods are on one node."""
_FOR_MANY_NODES = {"ReadWriteMany", "ReadOnlyMany"}


def check_claims(objects: Objects) -> list[Finding]:
    """`claim-for-one-node`: several pods mount it, which may be on several nodes, and it does not ask for that."""
    every, found = list(pods_of(objects)), []
    for claim in of_kind(objects, "PersistentVolumeClaim"):
        modes, metadata = claim["spec"]["accessModes"], claim["metadata"]
        users = [pods.owner for pods in every if metadata["name"] in _claimed(pods)]
        is_shared = sum(_most_pods(objects, owner) for owner in users) > 1
        if is_shared and not _FOR_MANY_NODES & set(modes) and metadata.get("namespace") != ONE_MACHINE:
            names = ", ".join(title(owner) for owner in users)
            found.append(Finding("claim-for-one-node", title(claim), f"{', '.join(modes)}: {names}"))
    return found


def _claimed(pods: Pods) -> set[str | None]:
    """The claims that a pod mounts besides those that are made for it alone."""
    return {volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pods.spec.get("volumes", ())}


def _most_pods(objects: Objects, owner: Object) -> int:
    """How many pods a workload has at most, while none is replaced."""
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        if scales(scaler, owner):
            return int(scaler["spec"]["maxReplicas"])
    if owner["kind"] == "DaemonSet":
        return 2  # one on every node
    spec = owner["spec"]["jobTemplate"]["spec"] if owner["kind"] == "CronJob" else owner["spec"]
    return int(spec.get("parallelism", spec.get("replicas", 1)))
