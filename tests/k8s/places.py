"""Whether what a container is told to read and write is there, and in time."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.k8s.manifests import Finding, Object, Objects, pods_of, title
from tests.k8s.settings import environment_of, words_of

_PATH = re.compile(r"(?:^|=|:)(/[\w./-]+)")
_OWN = "aisle-"
"""How the names of our images begin."""
_IN_IMAGES = ("/app", "/opt/triton")
WAITS = "wait-for-bundle"


def check_paths(objects: Objects) -> list[Finding]:
    """`unmounted-path`: a command line or a variable names a place where nothing is mounted."""
    return [
        Finding("unmounted-path", f"{title(pods.owner)}/{container['name']}", path)
        for pods in pods_of(objects)
        for container in pods.containers()
        if container["image"].rpartition("/")[2].startswith(_OWN)
        for path in _paths(environment_of(objects, pods, container), container)
        if not _is_mounted(container, path)
    ]


def check_written(objects: Objects) -> list[Finding]:
    """`read-only-place`: models are made beside their folder, whose parent must be a writable mount."""
    found = []
    for pods in pods_of(objects):
        for container in pods.containers():
            words = words_of(container)
            if any(word.endswith("build_models.py") for word in words):
                parent = str(PurePosixPath(words[3]).parent)
                writable = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
                if parent not in writable:
                    found.append(Finding("read-only-place", f"{title(pods.owner)}/{container['name']}", parent))
    return found


def check_waiting(objects: Objects) -> list[Finding]:
    """`waits-too-late`: a container that needs a bundle runs before the one that waits for it."""
    found = []
    for pods in pods_of(objects):
        names = [container["name"] for container in pods.spec.get("initContainers", ())]
        if WAITS in names[1:]:
            found.append(Finding("waits-too-late", title(pods.owner), ", ".join(names)))
    return found


def _paths(told: dict[str, str], container: Object) -> Iterator[str]:
    for text in (*words_of(container), *told.values()):
        yield from _PATH.findall(text)


def _is_mounted(container: Object, path: str) -> bool:
    parents = {path, *map(str, PurePosixPath(path).parents)} - {"/"}
    mounted = {mount["mountPath"] for mount in container.get("volumeMounts", ())}
    return not parents.isdisjoint(mounted.union(_IN_IMAGES))
