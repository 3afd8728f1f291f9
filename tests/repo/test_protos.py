"""The committed stubs, the comments and the table of limits say the same as the protos."""

import re
import subprocess
import sys
from importlib import import_module, resources
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_tools import protoc

from services.common.limits import LIMITS, REQUIRED

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protos/aisle/v1").glob("*.proto"))
MODULES = [import_module(f"aisle.v1.{proto.stem}_pb2") for proto in PROTOS]
REQUESTS = [
    method.input_type for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]  # fmt: skip


def compile_protos(*flags: str) -> None:
    """Runs the installed grpcio-tools over all protos."""
    well_known = resources.files("grpc_tools") / "_proto"
    status = protoc.main(["protoc", f"-I{ROOT / 'protos'}", f"-I{well_known}", *flags, *map(str, PROTOS)])
    assert status == 0


@pytest.fixture(scope="module")
def comments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Full field name to its comment as one line in lower case."""
    path = tmp_path_factory.mktemp("protos") / "descriptors"
    compile_protos("--include_source_info", f"--descriptor_set_out={path}")
    found = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file:
        comment_at = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for number, message in enumerate(file.message_type):
            for position, field in enumerate(message.field):
                # 4 = message_type in FileDescriptorProto, 2 = field in DescriptorProto
                comment = comment_at.get((4, number, 2, position), "")
                found[f"{file.package}.{message.name}.{field.name}"] = " ".join(comment.lower().split())
    return found


def request_fields() -> dict[str, FieldDescriptor]:
    """Every field of every request and of the messages within requests."""
    fields: dict[str, FieldDescriptor] = {}

    def visit(message: Descriptor) -> None:
        for field in message.fields:
            assert field.containing_type is not None
            if field.full_name not in fields and field.containing_type.file.package == "aisle.v1":
                fields[field.full_name] = field
                if field.message_type is not None and not field.message_type.GetOptions().map_entry:
                    visit(field.message_type)

    for request in REQUESTS:
        visit(request)
    return fields


def test_the_committed_stubs_are_what_the_installed_grpcio_tools_generates(tmp_path: Path) -> None:
    compile_protos(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}")
    generated = {path.name: path.read_bytes() for path in (tmp_path / "aisle/v1").iterdir()}
    committed = {path.name: path.read_bytes() for path in (ROOT / "protos/aisle/v1").glob("*_pb2*.py*")}
    assert len(generated) == 3 * len(PROTOS)
    assert sorted(committed) == sorted(generated)
    assert [name for name, text in generated.items() if committed[name] != text] == []


def test_buf_finds_nothing_to_complain_about() -> None:
    buf = Path(sys.executable).parent / "buf"
    for command in (["lint"], ["format", "--diff", "--exit-code"]):
        run = subprocess.run([buf, *command], cwd=ROOT / "protos", capture_output=True, text=True, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_every_limit_is_stated_in_the_comment_of_its_field(comments: dict[str, str]) -> None:
    missing = [
        f"{name}: {phrase!r}"
        for name, limit in LIMITS.items()
        for phrase in limit.phrases()
        if not re.search(rf"(?<!\w){phrase}(?!\w)", comments.get(name, ""))
    ]
    assert missing == []


def test_every_bound_in_a_request_comment_is_in_the_table(comments: dict[str, str]) -> None:
    stated = re.compile(r"at most \d+ (?:entries|characters)(?= |[.,;]|$)|(?<![\w-])\d+ to \d+(?!\w)")
    unknown = [
        f"{name}: {phrase!r}"
        for name in request_fields()
        for phrase in stated.findall(comments[name])
        if name not in LIMITS or phrase not in LIMITS[name].phrases()
    ]
    assert unknown == []


def test_every_field_of_a_request_that_can_grow_has_a_limit() -> None:
    growing = [
        name
        for name, field in request_fields().items()
        if field.is_repeated or field.type not in (FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM,
                                                   FieldDescriptor.TYPE_MESSAGE)
    ]  # fmt: skip
    assert sorted(growing) == sorted(LIMITS)


def test_a_field_is_called_required_exactly_where_the_table_says_so(comments: dict[str, str]) -> None:
    stated = {name for name in request_fields() if re.search(r"(^|\. )required[.;]", comments[name])}
    assert stated == REQUIRED


def test_every_request_names_its_tenant() -> None:
    assert [request.name for request in REQUESTS if "tenant" not in request.fields_by_name] == []
