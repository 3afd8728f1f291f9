"""Whether what pods are told by their environment and their command line is what our programs read.

Choices: what is read comes from the code: the settings classes that services/reference.py lists, the flags that a
module adds to its parser, the names in a script. A setting is required where its default cannot hold in a pod: a
folder relative to nowhere, an address of the pod itself.
"""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import FilePath, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from services import reference
from services.common.settings import PREFIX, ServiceSettings
from tests.conftest import REPOSITORY_ROOT as ROOT
from tests.k8s.manifests import Finding, Object, Objects, Pods, of_kind, pods_of, title

RUNTIME = {
    "HOME": "a place that can be written, for programs that look for one",
    "OMP_NUM_THREADS": "every service answers many calls side by side",
    "ORT_DISABLE_TELEMETRY": "ONNX Runtime reports to its maker otherwise",
    "POLARS_MAX_THREADS": "as OMP_NUM_THREADS",
    "PYTHONPATH": "where Python looks for packages that an image lacks",
    "REDISCLI_AUTH": "read by valkey-cli",
}
"""What is read by others than our own code, and why it is set."""

_IN_SCRIPT = re.compile(r"""(?<=")AISLE_[A-Z_]+(?=")|(?<=\$)[A-Z_]+|(?<=\$\{)[A-Z_]+""")
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_LOOPBACK = ("127.0.0.1", "localhost")


def check_variables(objects: Objects) -> list[Finding]:
    """`unread-variable`: nobody reads it; `unset-setting`: what must be set is not; `wrong-setting`: a value that the
    setting cannot take."""
    found = []
    for pods in pods_of(objects):
        for container in pods.containers():
            where = f"{title(pods.owner)}/{container['name']}"
            told = environment_of(objects, pods, container)
            read = _read_by(objects, pods, container)
            found += [Finding("unread-variable", where, name) for name in sorted(told.keys() - read)]
            cls = settings_of(container)
            if cls is not None:
                found += _wrong_settings(cls, told, where)
    return found


def environment_of(objects: Objects, pods: Pods, container: Object) -> dict[str, str]:
    """A container's variables, as far as the manifests say them; a secret's value is its name."""
    told: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        name = source.get("configMapRef", {}).get("name")
        for one in of_kind(objects, "ConfigMap"):
            if one["metadata"]["name"] == name:
                told |= {key: str(value) for key, value in (one.get("data") or {}).items()}
    for variable in container.get("env", ()):
        told[variable["name"]] = str(variable.get("value", variable.get("valueFrom")))
    return told


def module_of(container: Object) -> str | None:
    """The module that a container runs, if it runs one."""
    words = words_of(container)
    return words[words.index("-m") + 1] if "-m" in words else None


def words_of(container: Object) -> list[str]:
    """The whole command line, as far as the manifest says it."""
    return [*container.get("command", ()), *container.get("args", ())]


@cache
def _services() -> Mapping[str, type[ServiceSettings]]:
    """Module of each service → what it reads."""
    classes = {}
    for path in reference.SETTINGS.values():
        place, _, name = path.rpartition(".")
        classes[place.rpartition(".")[0]] = getattr(importlib.import_module(place), name)
    return classes


def settings_of(container: Object) -> type[ServiceSettings] | None:
    """What a container's service reads; None where it runs none of ours."""
    return _services().get(module_of(container) or "")


def _read_by(objects: Objects, pods: Pods, container: Object) -> set[str]:
    words = words_of(container)
    values = [variable.get("value", "") for variable in container.get("env", ())]
    read = {name for text in (*words, *values) for name in _REFERENCE.findall(text)} | RUNTIME.keys()
    cls, module = settings_of(container), module_of(container)
    if cls is not None:
        return read | {PREFIX + name.upper() for name in cls.model_fields}
    if module is not None:
        return read | _literals(module.partition(".")[0]) | _literals("features")
    return read | {name for text in _scripts(objects, pods) for name in _IN_SCRIPT.findall(text)}


@cache
def _literals(package: str) -> set[str]:
    """Variables that the code of a package names itself."""
    texts = (path.read_text() for path in (ROOT / package).rglob("*.py"))
    return {name for text in texts for name in re.findall(r'"(AISLE_[A-Z_]+)"', text)}


def _scripts(objects: Objects, pods: Pods) -> Iterator[str]:
    mounted = {volume["configMap"]["name"] for volume in pods.spec.get("volumes", ()) if "configMap" in volume}
    for one in of_kind(objects, "ConfigMap"):
        if one["metadata"]["name"] in mounted:
            yield from (text for name, text in one["data"].items() if name.endswith((".py", ".sh")))


def _wrong_settings(cls: type[ServiceSettings], told: Mapping[str, str], where: str) -> Iterator[Finding]:
    for name, field in cls.model_fields.items():
        variable = PREFIX + name.upper()
        if variable not in told:
            if is_required(field):
                yield Finding("unset-setting", where, f"{variable}, by default {field.default}")
        elif not _takes(field, told[variable]):
            yield Finding("wrong-setting", where, f"{variable}={told[variable]}")


def is_required(field: FieldInfo) -> bool:
    """Whether a pod cannot do with the default."""
    default = field.default
    return (
        field.is_required()
        or (isinstance(default, Path) and not default.is_absolute())
        or (isinstance(default, str) and default.startswith(_LOOPBACK))
    )


def _takes(field: FieldInfo, text: str) -> bool:
    if field.annotation in (FilePath, FilePath | None):  # the file is the pod's
        return text.startswith("/")
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True


def check_listening(objects: Objects) -> list[Finding]:
    """`listens-elsewhere`: a service's port is not among those that its container names."""
    found = []
    for pods in pods_of(objects):
        for container in pods.containers():
            cls, told = settings_of(container), environment_of(objects, pods, container)
            for name in (name for name in (cls.model_fields if cls else ()) if name.endswith("_port")):
                field = cls.model_fields[name] if cls else None
                port = told.get(PREFIX + name.upper(), field.default if field else None)
                opened = {one["containerPort"] for one in container.get("ports", ())}
                if port is not None and int(port) not in opened and name != "triton_http_port":
                    found.append(Finding("listens-elsewhere", title(pods.owner), f"{name} {port}, not {opened}"))
    return found


def check_flags(objects: Objects) -> list[Finding]:
    """`unknown-flag`: a command line that the module's parser does not know."""
    found = []
    for pods in pods_of(objects):
        for container in pods.containers():
            words, module = words_of(container), module_of(container)
            if module is None or settings_of(container) is not None:
                continue
            given = words[words.index("-m") + 2 :]
            flags = {word.partition("=")[0] for word in given if word.startswith("--")}
            unknown = sorted(flags - _flags(module))
            found += [Finding("unknown-flag", title(pods.owner), f"{module} {flag}") for flag in unknown]
    return found


@cache
def _flags(module: str) -> set[str]:
    """The flags that a module, or for a package any of its modules or the stack, adds to a parser."""
    path = ROOT / module.replace(".", "/")
    files = [*path.glob("*.py"), ROOT / "services/stack.py"] if path.is_dir() else [path.with_suffix(".py")]
    calls = (node for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    words = (call.args[0] for call in calls if call.args)
    return {str(word.value) for word in words if isinstance(word, ast.Constant) and str(word.value).startswith("--")}
