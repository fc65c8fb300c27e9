"""Model repository of Triton: its configurations, and its graphs against the engine."""

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export_runs import digests, invoke, run_export
from mms_engine import Recognizer
from mms_engine.encoder.emission import Segment
from mms_export.tensorrt.options import USES, PlanOptions
from mms_export.triton.repository import MODELS
from tiny_models import LANGUAGES, TinyOptions, make_tiny
from triton_protos import config_protos, read_config

KINDS = {"TYPE_FP32": "tensor(float)", "TYPE_INT64": "tensor(int64)"}


@pytest.fixture(scope="module")
def repository(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton")
    run_export(checkpoint, folder / "bundle", triton=folder / "models")
    return folder / "models"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton")
    run_export("demo", folder / "bundle", triton=folder / "models")
    return folder


def session(repository, name):
    path = repository / name / "1" / "model.onnx"
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def as_graph(shape, reshape):
    """Return a tensor's dims as the graph sees them: a batch before, `reshape` in their place."""
    dims = list(shape if reshape is None else reshape)
    return ["batch", *dims]


@pytest.mark.parametrize("name", ["mms_frontend", "mms_encoder"])
def test_config_has_the_tensors_of_the_graph(repository, name):
    config, graph = read_config(repository / name), session(repository, name)
    assert config.name == name
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    data_type = config_protos().DataType
    for given, found in ((config.input, graph.get_inputs()), (config.output, graph.get_outputs())):
        assert [tensor.name for tensor in given] == [tensor.name for tensor in found]
        for tensor, there in zip(given, found, strict=True):
            reshape = tensor.reshape.shape if tensor.HasField("reshape") else None
            shape = [-1 if isinstance(size, str) else size for size in there.shape[1:]]
            assert as_graph(tensor.dims, reshape)[1:] == shape
            assert KINDS[data_type.Name(tensor.data_type)] == there.type
            assert there.shape[0] == "batch"


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("mms_transcribe", ["audio", "language"], ["text", "words", "language"]),
        ("mms_stream", ["audio", "language"], ["event"]),
    ],
)
def test_hosted_models(repository, name, inputs, outputs):
    config = read_config(repository / name)
    assert config.backend == "python"
    assert [tensor.name for tensor in config.input] == inputs
    assert [tensor.name for tensor in config.output] == outputs
    bundle = repository.parent / "bundle"
    assert config.parameters["bundle"].string_value == str(bundle)
    assert (repository / name / "1" / "model.py").is_file()
    assert config.model_transaction_policy.decoupled == (name == "mms_stream")


def test_names_with_quotes_are_escaped(checkpoint, tmp_path):
    bundle = tmp_path / 'é "b" \\ n'
    run_export(checkpoint, bundle, triton=tmp_path / "models")
    config = read_config(tmp_path / "models" / "mms_transcribe")
    assert config.parameters["bundle"].string_value == str(bundle)


@pytest.mark.parametrize("widest", [12, 150])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_rows_of_any_languages_equal_those_of_the_engine(tmp_path, precision, widest):
    bundle, models = tmp_path / "bundle", tmp_path / "models"
    sizes = {**LANGUAGES, "uzb-script_latin": widest}
    checkpoint = make_tiny(tmp_path / "hub", TinyOptions(languages=tuple(sizes.items())))
    run_export(checkpoint, bundle, precisions=(precision,), triton=models)
    languages = json.loads((models / "mms_encoder" / "languages.json").read_text())
    assert [len(one["tokens"]) for one in languages] == [9, 7, widest]
    random = np.random.default_rng(0)
    audio = random.normal(size=(3, 8000)).astype(np.float32)
    features = session(models, "mms_frontend").run(None, {"audio": audio})[0]
    slots = np.array([2, 0, 1])
    feeds = {"features": features, "lengths": np.full(3, features.shape[1]), "slot": slots}
    logits = session(models, "mms_encoder").run(None, feeds)[0]
    with Recognizer.open(bundle, precision=precision) as recognizer:
        for row, slot in enumerate(slots):
            language = languages[slot]["language"]
            expected = recognizer.acoustic.logits([Segment(audio[row], language)])[0]
            size = len(languages[slot]["tokens"])
            assert expected.shape[1] == size
            assert np.array_equal(logits[row, :, :size].argmax(-1), expected.argmax(-1))
            np.testing.assert_allclose(logits[row, :, :size], expected, rtol=0, atol=2e-2)
            assert np.isneginf(logits[row, :, size:]).all()


def test_demo_clips_have_the_text_of_the_engine(demo, clips):
    languages = json.loads((demo / "models" / "mms_encoder" / "languages.json").read_text())
    slots = {one["language"]: one for one in languages}
    frontend, encoder = (session(demo / "models", name) for name in MODELS[:2])
    with Recognizer.open(demo / "bundle") as recognizer:
        audios = [recognizer.read(path).samples for path, _ in clips]
        expected = [recognizer.transcribe(path, code).text for path, code in clips]
    features = [frontend.run(None, {"audio": normalized(audio)[None]})[0][0] for audio in audios]
    lengths = np.array([len(one) for one in features])
    padded = np.stack([np.pad(one, [(0, lengths.max() - len(one)), (0, 0)]) for one in features])
    slot = np.array([slots[code]["slot"] for _, code in clips])
    logits = encoder.run(None, {"features": padded, "lengths": lengths, "slot": slot})[0]
    texts = [
        text(row[:length], slots[code]["tokens"])
        for row, length, (_, code) in zip(logits, lengths, clips, strict=True)
    ]
    assert texts == expected
    assert all(texts)


def normalized(samples):
    return ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)


def text(logits, tokens):
    return "".join(tokens[token] for token, _ in groupby(logits.argmax(-1))).strip()


@pytest.fixture
def clips():
    folder = Path(__file__).parents[2] / "examples" / "demo" / "clips"
    found = {path.name[:3]: path for path in sorted(folder.glob("*.flac"))}
    assert len(found) == 5
    return [(path, code) for code, path in found.items()]


def test_weights_are_not_copied(repository):
    bundle = repository.parent / "bundle"
    path = repository / "mms_frontend" / "1" / "model.onnx"
    assert path.samefile(bundle / "graphs" / "frontend.fp32.onnx")
    model = onnx.load(repository / "mms_encoder" / "1" / "model.onnx", load_external_data=False)
    outside = [one for one in model.graph.initializer if one.external_data]
    entries = [entry for one in outside for entry in one.external_data]
    places = {entry.value for entry in entries if entry.key == "location"}
    assert places == {"bank.data"}
    onnx.checker.check_model(str(repository / "mms_encoder" / "1" / "model.onnx"))


def test_export_again_gives_the_same_bytes(checkpoint, tmp_path):
    given = ("--model", checkpoint, "--out", tmp_path / "b", "--precision", "fp32", "--quiet")
    assert invoke(*given, "--triton", tmp_path / "m").exit_code == 0
    before = digests(tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == sorted(MODELS)
    (tmp_path / "m" / "mms_encoder" / "1" / "bank.data").write_bytes(b"damaged")
    assert invoke(*given, "--triton", tmp_path / "m").exit_code == 0
    assert digests(tmp_path / "m") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "m"]
    one = invoke(*given, "--triton", tmp_path / "one", "--lang", "swh")
    assert one.exit_code == 0
    languages = json.loads((tmp_path / "one" / "mms_encoder" / "languages.json").read_text())
    assert [entry["language"] for entry in languages] == ["swh"]


def test_models_of_others_are_kept(checkpoint, tmp_path):
    model = tmp_path / "m" / "mms_encoder"
    model.mkdir(parents=True)
    (model / "config.pbtxt").write_text('name: "mms_encoder"\n')
    given = ("--model", checkpoint, "--out", tmp_path / "b", "--precision", "fp32", "--quiet")
    result = invoke(*given, "--triton", tmp_path / "m")
    assert result.exit_code == 1
    assert f"{model} is there already and was not written by an export" in result.stderr
    assert not (tmp_path / "b").exists()
    assert (model / "config.pbtxt").read_text() == 'name: "mms_encoder"\n'
    assert invoke(*given, "--triton", tmp_path / "m", "--replace").exit_code == 0
    assert read_config(model).backend == "onnxruntime"


def test_other_tasks_are_refused(tmp_path):
    given = ("--model", "demo-lid", "--out", tmp_path / "b", "--triton", tmp_path / "m")
    result = invoke(*given)
    assert result.exit_code == 1
    assert "is not a model of speech recognition" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_dry_run_counts_the_bank(checkpoint, tmp_path):
    given = ("--model", checkpoint, "--out", tmp_path / "b", "--precision", "fp32")
    result = invoke(*given, "--triton", tmp_path / "m", "--dry-run", "--json")
    sizes = json.loads(result.stdout)["bytes"]
    assert invoke(*given, "--triton", tmp_path / "m").exit_code == 0
    path = tmp_path / "m" / "mms_encoder" / "1" / "bank.data"
    assert sizes["triton bank (3)"] == path.stat().st_size
    assert list(tmp_path.glob(".*")) == []


def test_full_disk_leaves_no_model(checkpoint, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mms_export.triton.repository.write_bank", refuse)
    given = ("--model", checkpoint, "--out", tmp_path / "b", "--precision", "fp32", "--quiet")
    result = invoke(*given, "--triton", tmp_path / "m")
    assert result.exit_code == 1
    assert "No space left on device. Free some space" in result.stderr, result.output
    assert list((tmp_path / "m").iterdir()) == []
    assert list(tmp_path.glob(".*")) == []


def test_plans_with_the_bank_inside(checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("tensorrt_rtx")
    models = tmp_path / "m"
    plans = PlanOptions(
        runtime="tensorrt-rtx",
        capabilities=("8.6",),
        uses=(USES["offline"].limited(8, 2), USES["long"].limited(1, 20)),
    )
    given = {"precisions": ("fp16",), "plans": plans, "triton": models}
    run_export(checkpoint, tmp_path / "b", **given)
    # Triton has no TensorRT for RTX.
    assert (models / "mms_encoder" / "1" / "model.onnx").is_file()
    assert read_config(models / "mms_encoder").backend == "onnxruntime"

    # The TensorRT that it has builds on its GPU only; the interface is the same.
    monkeypatch.setattr("mms_export.bundle.pipeline.TRITON_RUNTIME", "tensorrt-rtx")
    run_export(checkpoint, tmp_path / "b", **given)
    for name in MODELS[:2]:
        assert [path.name for path in (models / name / "1").iterdir()] == ["model.plan"]
        config = read_config(models / name)
        assert (config.backend, config.max_batch_size) == ("tensorrt", 8)
        (instance,) = config.instance_group
        assert list(instance.profile) == ["0"]
        assert type(instance).Kind.Name(instance.kind) == "KIND_GPU"
        assert (models / name / "1" / "model.plan").stat().st_size
    names = [tensor.name for tensor in read_config(models / "mms_encoder").input]
    assert names == ["features", "lengths", "slot"]
