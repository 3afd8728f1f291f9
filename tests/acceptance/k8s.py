"""AREA=k8s: whether the manifests can be applied and mean what they should. Line numbers are those of the promises."""

from collections.abc import Callable, Mapping

from tests.acceptance.k8s_images import images
from tests.acceptance.k8s_local import local
from tests.acceptance.k8s_manifests import edges, faults, sizes, variables
from tests.acceptance.rows import Row

LINES: Mapping[int, Callable[[], list[Row]]] = {
    1: faults,
    2: variables,
    3: edges,
    4: images,
    5: local,
    6: sizes,
}
