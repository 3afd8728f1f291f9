"""Bundle → model repository, on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from features import bundle as files
from features.spec import HISTORY_LENGTH
from services.common.towers import TowerModels
from services.triton.model_configs import token_buckets
from services.triton.repository import LEAST_COSINE, Target, build_repository
from tests.tiny_bundle import write_tiny_bundle

TARGETS: tuple[Target, ...] = ("cpu", "gpu")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "bundle", "2026-11-24.a", seed=1)
    return tmp_path / "bundle"


def contents(root: Path) -> dict[str, tuple[int, int]]:
    """Path → inode and time of last change, of everything below `root`."""
    stats = ((path.relative_to(root).as_posix(), path.stat()) for path in root.rglob("*"))
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats}


def config(model: Path) -> Any:
    return text_format.Parse((model / "config.pbtxt").read_text(), ModelConfig())


def test_a_version_is_part_of_the_names_and_only_letters_and_digits_of_it() -> None:
    assert TowerModels.of_version("2026-11-24.a") == TowerModels(
        text="text_tower_2026_11_24_a", interest="interest_tower_2026_11_24_a"
    )


@pytest.mark.parametrize("target", TARGETS)
def test_both_targets_return_the_same_names(bundle: Path, tmp_path: Path, target: Target) -> None:
    names = build_repository(bundle, target, tmp_path / "out")
    assert names == ["text_tower_2026_11_24_a", "interest_tower_2026_11_24_a"]
    assert all((tmp_path / "out" / name / "config.pbtxt").is_file() for name in names)


@pytest.mark.parametrize("target", TARGETS)
def test_every_model_is_configured_under_its_directorys_name_with_a_version_directory(
    bundle: Path, tmp_path: Path, target: Target
) -> None:
    build_repository(bundle, target, tmp_path / "out")
    models = list((tmp_path / "out").iterdir())
    assert len(models) == {"cpu": 2, "gpu": 4}[target]
    for model in models:
        assert config(model).name == model.name
        assert (model / "1").is_dir()


def test_the_inputs_of_both_targets_are_the_same(bundle: Path, tmp_path: Path) -> None:
    for target in TARGETS:
        build_repository(bundle, target, tmp_path / target)
    for model in ("text_tower_2026_11_24_a", "interest_tower_2026_11_24_a"):
        cpu, gpu = config(tmp_path / "cpu" / model), config(tmp_path / "gpu" / model)
        assert list(cpu.input) == list(gpu.input)
        assert [output.name for output in cpu.output] == [output.name for output in gpu.output]
        assert cpu.max_batch_size == gpu.max_batch_size == 64


def test_a_history_has_the_length_that_the_features_have(bundle: Path, tmp_path: Path) -> None:
    build_repository(bundle, "cpu", tmp_path / "out")
    dims = {tensor.name: list(tensor.dims) for tensor in config(tmp_path / "out" / "interest_tower_2026_11_24_a").input}
    assert dims == {
        "history_vectors": [HISTORY_LENGTH, 128],
        "event_types": [HISTORY_LENGTH],
        "ages_days": [HISTORY_LENGTH],
    }


@pytest.mark.parametrize(("model", "outputs"), [("text_encoder", [128]), ("interest_tower", [2, 128])])
def test_graphs_of_the_gpu_target_run_on_tensorrt_in_fp16_with_the_graphs_own_output_shape(
    bundle: Path, tmp_path: Path, model: str, outputs: list[int]
) -> None:
    build_repository(bundle, "gpu", tmp_path)
    found = config(tmp_path / f"{model}_2026_11_24_a")
    (accelerator,) = found.optimization.execution_accelerators.gpu_execution_accelerator
    assert found.backend == "onnxruntime"
    assert (accelerator.name, accelerator.parameters["precision_mode"]) == ("tensorrt", "FP16")
    assert [group.kind for group in found.instance_group] == [ModelInstanceGroup.KIND_GPU]
    assert found.HasField("dynamic_batching")
    assert list(found.output[0].dims) == outputs


def test_the_encoder_warms_up_every_bucket_alone_and_full_and_the_extremes_first(bundle: Path, tmp_path: Path) -> None:
    build_repository(bundle, "gpu", tmp_path)
    samples = config(tmp_path / "text_encoder_2026_11_24_a").model_warmup
    shapes = [(sample.batch_size, sample.inputs["input_ids"].dims[0]) for sample in samples]
    assert shapes[:2] == [(1, 16), (64, 64)]
    assert sorted(shapes) == [(batch, width) for batch in (1, 64) for width in (16, 32, 64)]


@pytest.mark.parametrize(
    ("max_tokens", "widths"), [(64, [16, 32, 64]), (128, [16, 32, 64, 128]), (32, [16, 32]), (20, [16, 20]), (8, [8])]
)
def test_the_widest_bucket_is_the_towers_token_limit(max_tokens: int, widths: list[int]) -> None:
    assert token_buckets(max_tokens) == widths


@pytest.mark.parametrize("target", TARGETS)
def test_building_again_changes_nothing(bundle: Path, tmp_path: Path, target: Target) -> None:
    build_repository(bundle, target, tmp_path / "out")
    before = contents(tmp_path / "out")
    build_repository(bundle, target, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_model_that_is_out_of_date_is_replaced_and_the_others_are_kept(bundle: Path, tmp_path: Path) -> None:
    text, interest = build_repository(bundle, "cpu", tmp_path / "out")
    kept, model = contents(tmp_path / "out" / interest), tmp_path / "out" / text / "1" / "model.py"
    current = model.read_text()
    model.write_text("raise ImportError('of an older release')")
    build_repository(bundle, "cpu", tmp_path / "out")
    assert model.read_text() == current
    assert contents(tmp_path / "out" / interest) == kept


def test_versions_stand_side_by_side_and_nothing_else_is_left(bundle: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "next", "next", seed=2)
    names = [
        *build_repository(bundle, "cpu", tmp_path / "out"),
        *build_repository(tmp_path / "next", "cpu", tmp_path / "out"),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "next", "out"]


def test_large_files_are_shared_with_the_bundle_where_the_file_system_can(bundle: Path, tmp_path: Path) -> None:
    text, _ = build_repository(bundle, "cpu", tmp_path / "out")
    assert (tmp_path / "out" / text / "1" / "model.onnx").samefile(bundle / "text_tower" / "model.onnx")


def test_large_files_are_copied_where_it_cannot(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_file_system(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", another_file_system)
    text, _ = build_repository(bundle, "cpu", tmp_path / "out")
    copy = tmp_path / "out" / text / "1" / "model.onnx"
    assert copy.read_bytes() == (bundle / "text_tower" / "model.onnx").read_bytes()
    before = contents(tmp_path / "out")
    build_repository(bundle, "cpu", tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_weights_that_lie_beside_the_graph_go_with_it(bundle: Path, tmp_path: Path) -> None:
    (bundle / "text_tower" / "model.onnx.data").write_bytes(b"weights")
    text, _ = build_repository(bundle, "cpu", tmp_path / "out")
    assert (tmp_path / "out" / text / "1" / "model.onnx.data").read_bytes() == b"weights"


def add_int8_tower(bundle: Path, cosine_p1: float) -> None:
    """A file in its place, and what the manifest says of it."""
    (bundle / files.TEXT_TOWER_INT8).write_bytes(b"int8")
    compression = {files.TEXT_TOWER_INT8: {"cosine_p1": cosine_p1}}
    (bundle / files.MANIFEST).write_text(json.dumps({"version": "compressed", files.COMPRESSION: compression}))


@pytest.mark.parametrize(("cosine_p1", "served"), [(LEAST_COSINE, files.TEXT_TOWER_INT8), (0.9799, files.TEXT_TOWER)])
def test_the_cpu_target_serves_the_int8_text_tower_where_its_vectors_agree_with_the_catalogues(
    bundle: Path, tmp_path: Path, cosine_p1: float, served: str
) -> None:
    add_int8_tower(bundle, cosine_p1)
    text, interest = build_repository(bundle, "cpu", tmp_path / "out")
    assert (tmp_path / "out" / text / "1" / "model.onnx").samefile(bundle / served)
    assert (tmp_path / "out" / interest / "1" / "model.onnx").samefile(bundle / files.INTEREST_TOWER)


def test_the_gpu_target_serves_the_fp32_text_tower_which_tensorrt_makes_fp16(bundle: Path, tmp_path: Path) -> None:
    add_int8_tower(bundle, cosine_p1=1.0)
    build_repository(bundle, "gpu", tmp_path / "out")
    graph = tmp_path / "out" / "text_encoder_compressed" / "1" / "model.onnx"
    assert graph.samefile(bundle / files.TEXT_TOWER)


def test_an_int8_text_tower_that_is_promised_and_not_there_is_named(bundle: Path, tmp_path: Path) -> None:
    add_int8_tower(bundle, cosine_p1=1.0)
    (bundle / files.TEXT_TOWER_INT8).unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.int8\.onnx"):
        build_repository(bundle, "cpu", tmp_path / "out")


@pytest.mark.parametrize("name", ["manifest.json", "text_tower/tokenizer.json", "interest_tower/model.onnx"])
def test_a_missing_file_is_named_and_nothing_half_built_is_left(bundle: Path, tmp_path: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.rpartition("/")[2].replace(".", r"\.")):
        build_repository(bundle, "cpu", tmp_path / "out")
    models = (tmp_path / "out").glob("*")
    assert all((model / "config.pbtxt").is_file() for model in models)
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle", "out"}


def test_a_configuration_without_its_key_is_named(bundle: Path, tmp_path: Path) -> None:
    (bundle / "text_tower" / "config.json").write_text('{"max_tokens": "many"}')
    with pytest.raises(ValueError, match=r"text_tower/config\.json: 'max_tokens' must be of type int, not 'many'"):
        build_repository(bundle, "cpu", tmp_path / "out")
