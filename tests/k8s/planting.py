"""How manifests are made wrong: a value at a path of keys and numbers separated by dots, an object gone.

Knows no rule.
"""

from collections.abc import Callable
from typing import Any

from tests.k8s.manifests import Object, Objects, of_kind, pod_template

Plant = Callable[[list[Object]], None]
"""Changes objects in place."""


def set_in(kind: str, name: str, path: str, value: Any) -> Plant:
    """Puts a value into an object."""

    def plant(objects: list[Object]) -> None:
        _put(the(objects, kind, name), path, value)

    return plant


def in_container(kind: str, name: str, path: str, value: Any) -> Plant:
    """Puts a value into a workload's first container."""

    def plant(objects: list[Object]) -> None:
        _put(pod_template(the(objects, kind, name))["spec"]["containers"][0], path, value)

    return plant


def the(objects: Objects, kind: str, name: str) -> Object:
    """The object of that name; those that a generator made by the beginning of it."""
    return next(
        one
        for one in of_kind(objects, kind)
        if one["metadata"]["name"] == name or one["metadata"]["name"].startswith(f"{name}-")
    )


def without(kind: str, name: str) -> Plant:
    """Takes an object away."""

    def plant(objects: list[Object]) -> None:
        objects.remove(the(objects, kind, name))

    return plant


def _put(place: Any, path: str, value: Any) -> None:
    """Set what lies at a path; a value of None takes it away."""
    *way, last = path.split(".")
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    end = int(last) if isinstance(place, list) else last
    if value is None:
        del place[end]
    else:
        place[end] = value
