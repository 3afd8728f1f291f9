"""Models for the GPU are built where a pod can write."""

from copy import deepcopy

from tests.k8s.manifests import named
from tests.k8s.overlays import every_overlay
from tests.k8s.places import check_written


def test_models_are_built_below_a_mount_that_can_be_written() -> None:
    objects = deepcopy(list(every_overlay()["production"]))
    assert check_written(objects) == []
    init = named(objects, "Deployment", "triton")["spec"]["template"]["spec"]["initContainers"]
    [building] = [container for container in init if container["name"] == "build-models"]
    building["command"][3] = "/models"
    [found] = check_written(objects)
    assert (found.name, found.what) == ("read-only-place", "/")
    building["command"][3] = "/models/repository"
    [mount] = [one for one in building["volumeMounts"] if one["mountPath"] == "/models"]
    mount["readOnly"] = True
    assert [found.what for found in check_written(objects)] == ["/models"]
