"""Who can show Kubernetes who he is: those that something is granted to, and nobody else."""

from collections.abc import Iterator

from tests.k8s.manifests import Finding, Objects, Pods, of_kind, pods_of, title


def check_tokens(objects: Objects) -> list[Finding]:
    """`token-not-mounted`: a role is bound to the pod's account, and the pod cannot show that it has it;
    `token-mounted`: it can, and no role is."""
    bound, found = set(_bound(objects)), []
    for pods in pods_of(objects):
        name = pods.spec.get("serviceAccountName", "default")
        is_bound = (name, pods.owner["metadata"].get("namespace")) in bound
        if is_bound != _is_mounted(objects, pods, name):
            word = "token-not-mounted" if is_bound else "token-mounted"
            found.append(Finding(word, title(pods.owner), f"service account {name}"))
    return found


def _bound(objects: Objects) -> Iterator[tuple[str, str | None]]:
    """Name and namespace of every account that a role is bound to."""
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        for subject in binding.get("subjects", ()):
            if subject["kind"] == "ServiceAccount":
                yield subject["name"], subject.get("namespace")


def _is_mounted(objects: Objects, pods: Pods, account: str) -> bool:
    """Whether a pod has a token: a volume of its own, or what pod, else account, else Kubernetes says."""
    sources = [
        source for volume in pods.spec.get("volumes", ()) for source in volume.get("projected", {}).get("sources", ())
    ]
    if any("serviceAccountToken" in source for source in sources):
        return True
    if "automountServiceAccountToken" in pods.spec:
        return bool(pods.spec["automountServiceAccountToken"])
    accounts = [one for one in of_kind(objects, "ServiceAccount") if one["metadata"]["name"] == account]
    return all(one.get("automountServiceAccountToken", True) for one in accounts)
