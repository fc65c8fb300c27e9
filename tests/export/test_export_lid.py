"""Export of language identification, with transformers' model of the same weights as the oracle."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoFeatureExtractor, Wav2Vec2ForSequenceClassification

from export_runs import edit_tensors, invoke, run_export
from mms_engine.audio import read_audio
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Classifier
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.errors import MmsError
from mms_export.checkpoints import hub
from mms_export.checkpoints.config import parse_classifier_config
from mms_export.checkpoints.fairseq import load_fairseq
from mms_export.checkpoints.names import classifier_shapes
from mms_export.checkpoints.open import open_checkpoint
from mms_export.parity import SPEECH
from mms_export.parity.comparison import Case, reference_scores
from mms_export.parity.execution import graph_scores, run_graph
from mms_export.synthetic import command, tensors, wav2vec2
from mms_export.tensorrt.options import USES, PlanOptions
from tiny_models import LID_LABELS, TinyOptions, make_tiny_fairseq_lid, make_tiny_lid

PRECISIONS = ("fp32", "fp16", "int8")
SECONDS = (10.0, 3.3, 0.5, 0.0251, 6.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_lid(tmp_path_factory.mktemp("tiny") / "tiny-lid")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "lid"
    run_export(checkpoint, out, precisions=PRECISIONS)
    return out


def clips() -> list[np.ndarray]:
    samples = read_audio(SPEECH).samples
    return [samples[i * 800 :][: round(16_000 * s)] for i, s in enumerate(SECONDS)]


def oracle(checkpoint: Path, audios: list[np.ndarray]) -> tuple[np.ndarray, dict]:
    """Return the logits of transformers, computed in one padded batch, and its inputs."""
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    inputs = extractor(audios, sampling_rate=16_000, padding=True, return_tensors="pt")
    model = Wav2Vec2ForSequenceClassification.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        return model(**inputs).logits.numpy(), inputs


def run(bundle: Path, checkpoint: Path, audio: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Return the scores of normalised audio `[B, N]` with rows of some sizes."""
    geometry = FrameGeometry.of(open_checkpoint(str(checkpoint)).config)
    lengths = np.array([geometry.frames(size) for size in sizes], np.int64)
    features = run_graph(bundle, "frontend", "fp32", {"audio": audio})
    return run_graph(bundle, "encoder", "fp32", {"features": features, "lengths": lengths})


def test_manifest_has_labels_in_order_of_outputs(bundle: Path) -> None:
    opened = open_bundle(bundle)
    model = opened.model(Wav2Vec2Classifier)
    assert model.labels == LID_LABELS != tuple(sorted(LID_LABELS))
    assert (model.classifier_proj_size, model.normalize) == (24, True)
    assert opened.manifest.data == {}
    assert opened.languages == tuple(sorted(LID_LABELS))
    assert opened.precisions == PRECISIONS
    assert [t.name for t in opened.graph("encoder", "fp32")[0].inputs] == ["features", "lengths"]
    errors = [g.parity.max_abs_error for g in opened.manifest.graphs if g.parity]
    assert len(errors) == len(PRECISIONS)
    assert errors[0] <= 1e-3


def test_scores_are_those_of_transformers(checkpoint: Path, bundle: Path) -> None:
    audios = clips()
    expected, inputs = oracle(checkpoint, audios)
    found = run(bundle, checkpoint, inputs["input_values"].numpy(), [len(a) for a in audios])
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert len({tuple(row) for row in expected.argsort(-1).tolist()}) > 1  # clips differ


def test_scores_of_padded_row_are_those_of_row_alone(checkpoint: Path, bundle: Path) -> None:
    """Trap 1: with padding in the mean, the neighbour's length would change the answer."""
    audios = clips()
    values = oracle(checkpoint, audios)[1]["input_values"].numpy()
    sizes = [len(audio) for audio in audios]
    together = run(bundle, checkpoint, values, sizes)
    for row, size in enumerate(sizes):
        alone = run(bundle, checkpoint, values[row : row + 1, :size], [size])
        np.testing.assert_allclose(together[row], alone[0], atol=2e-5)


def test_mask_is_of_lengths_only(checkpoint: Path, bundle: Path) -> None:
    """Trap 3: what stands in padded frames is without effect, in every row."""
    random = np.random.default_rng(0)
    features = random.normal(size=(3, 40, 16)).astype(np.float32)
    lengths = np.array([40, 7, 1], np.int64)
    found = run_graph(bundle, "encoder", "fp32", {"features": features, "lengths": lengths})
    for row, length in enumerate(lengths):
        features[row, length:] = 1e3
    again = run_graph(bundle, "encoder", "fp32", {"features": features, "lengths": lengths})
    np.testing.assert_array_equal(found, again)
    assert np.isfinite(found).all()


def test_projector_bias_of_padded_frames_does_not_count(tmp_path: Path, checkpoint: Path) -> None:
    """Trap 4: frames masked before the projector would still add its bias."""
    biased = shutil.copytree(checkpoint, tmp_path / "biased")
    edit_tensors(biased / "model.safetensors", lambda t: t["projector.bias"].fill_(50.0))
    run_export(biased, tmp_path / "bundle")
    audios = clips()[:2]
    expected, inputs = oracle(biased, audios)
    found = run(
        tmp_path / "bundle", biased, inputs["input_values"].numpy(), [len(a) for a in audios]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("options", [TinyOptions(adapter=None), TinyOptions(normalize=False)])
def test_reference_is_transformers(tmp_path: Path, options: TinyOptions) -> None:
    checkpoint = make_tiny_lid(tmp_path / "tiny", options=options)
    case = Case(checkpoint, normalize=options.normalize)
    found = np.concatenate(reference_scores(case)["encoder"])
    audio = read_audio(SPEECH).samples
    expected, _ = oracle(checkpoint, [audio, audio[: int(len(audio) * 0.6)]])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    run_export(checkpoint, tmp_path / "bundle")
    graph = np.concatenate(graph_scores(case, tmp_path / "bundle", "fp32", "encoder"))
    np.testing.assert_allclose(graph, expected, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_reduced_precision_is_near(checkpoint: Path, bundle: Path, precision: str) -> None:
    case = Case(checkpoint)
    expected = np.concatenate(reference_scores(case)["encoder"])
    found = np.concatenate(graph_scores(case, bundle, precision, "encoder"))
    assert np.abs(found - expected).max() <= 0.05 * np.abs(expected).max()


def test_fairseq_is_exported_as_transformers_runs_the_same_weights(
    tmp_path: Path, checkpoint: Path, bundle: Path
) -> None:
    """Trap: fairseq's own forward has an activation between projector and classifier."""
    path = make_tiny_fairseq_lid(tmp_path / "mms1b_l8.pt", checkpoint, activation_fn="gelu")
    ours, hub_ones = open_checkpoint(str(path)), open_checkpoint(str(checkpoint))
    assert (ours.format, ours.config) == ("fairseq", hub_ones.config)
    assert ours.weights.shapes == hub_ones.weights.shapes
    for name in ours.weights.shapes:
        np.testing.assert_array_equal(ours.weights.read(name), hub_ones.weights.read(name))
    result = invoke("--model", path, "--out", tmp_path / "bundle", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert "fairseq applies gelu between the projector and the classifier" in result.output
    audios = clips()
    expected, inputs = oracle(checkpoint, audios)
    sizes = [len(audio) for audio in audios]
    found = run(tmp_path / "bundle", checkpoint, inputs["input_values"].numpy(), sizes)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert open_bundle(tmp_path / "bundle").model(Wav2Vec2Classifier).labels == LID_LABELS


def test_fairseq_without_activation_has_no_warning(tmp_path: Path, checkpoint: Path) -> None:
    path = make_tiny_fairseq_lid(tmp_path / "lid.pt", checkpoint, activation_fn="linear")
    assert open_checkpoint(str(path)).warnings == ()
    path = make_tiny_fairseq_lid(tmp_path / "other.pt", checkpoint)
    assert "applies gelu" in " ".join(open_checkpoint(str(path)).warnings)  # fairseq's default


def test_labels_of_fairseq_from_a_text_file(tmp_path: Path, checkpoint: Path) -> None:
    path = make_tiny_fairseq_lid(tmp_path / "lid.pt", checkpoint)
    document = torch.load(path, weights_only=False)
    del document["task_state"]
    torch.save(document, bare := tmp_path / "bare.pt")
    with pytest.raises(MmsError, match=r"languages of its 8 outputs: put dict\.lang\.txt"):
        open_checkpoint(str(bare))
    text = tmp_path / "dict.lang.txt"
    text.write_text("".join(f"{label} 1\n" for label in LID_LABELS))
    assert open_checkpoint(str(bare)).config.labels == LID_LABELS
    text.write_text("".join(f"{label} 1\n" for label in LID_LABELS[1:]))
    load_fairseq.cache_clear()
    with pytest.raises(MmsError, match="8 outputs, its dictionary 7 labels"):
        open_checkpoint(str(bare))


def test_refused_fairseq(tmp_path: Path, checkpoint: Path) -> None:
    path = make_tiny_fairseq_lid(tmp_path / "lid.pt", checkpoint, pooling="mean_amsoftmax")
    with pytest.raises(MmsError, match="pooling is 'mean_amsoftmax', an MMS checkpoint has 'mean'"):
        open_checkpoint(str(path))
    path = make_tiny_fairseq_lid(tmp_path / "whole.pt", checkpoint)
    with pytest.raises(MmsError, match="without languages to choose from: leave out --lang"):
        open_checkpoint(str(path), "eng")
    document = torch.load(path, weights_only=False)
    del document["model"]["pooling_layer.linear.bias"]
    torch.save(document, short := tmp_path / "short.pt")
    with pytest.raises(MmsError, match=r"projector\.bias is missing"):
        open_checkpoint(str(short))


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


LABELS = {str(row): label for row, label in enumerate(LID_LABELS)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_weighted_layer_sum": True}, "use_weighted_layer_sum is True"),
        ({"add_adapter": True}, "add_adapter is True"),
        ({"id2label": None}, "id2label is missing"),
        ({"id2label": LABELS | {"8": "spa"}}, "9 labels, the classifier 8 outputs"),
        ({"id2label": LABELS | {"7": "ara"}}, "id2label has 'ara' twice"),
        ({"id2label": LABELS | {"9": "spa"}}, "no label for output 8"),
        ({"id2label": {"first": "ara"}}, "a key that is not a number"),
        ({"classifier_proj_size": 0}, "classifier_proj_size is 0"),
        ({"classifier_proj_size": 25}, r"projector.weight has shape \[24, 32\]"),
    ],
)
def test_refused_config(tmp_path: Path, checkpoint: Path, changes: dict, message: str) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "edited")
    edit_config(folder, **changes)
    with pytest.raises(MmsError, match=message):
        open_checkpoint(str(folder))


def test_command_recognises_the_task(tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "bundle"
    dry = invoke("--model", checkpoint, "--out", out, "--dry-run")
    assert dry.exit_code == 0
    assert "adapters" not in dry.output
    assert not out.exists()
    result = invoke("--model", checkpoint, "--out", out, "--precision", "fp32", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["languages"] == sorted(LID_LABELS)
    again = invoke("--model", checkpoint, "--out", out, "--precision", "fp32", "--quiet")
    assert f"{len(LID_LABELS)} languages, fp32" in again.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lang", "eng"], "leave out --lang"),
        (["--engine", "tensorrt-rtx", "--precision", "fp32"], "add one to --precision"),
    ],
)
def test_command_refuses(
    tmp_path: Path, checkpoint: Path, options: list[str], message: str
) -> None:
    result = invoke("--model", checkpoint, "--out", tmp_path / "bundle", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "bundle").exists()


def test_plans_are_built_without_a_gpu(tmp_path: Path, checkpoint: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    uses = (USES["offline"].limited(2, 20),)
    plans = PlanOptions(runtime="tensorrt-rtx", capabilities=("8.6",), uses=uses)
    out = tmp_path / "bundle"
    manifest = run_export(checkpoint, out, precisions=("fp16",), plans=plans)
    assert {plan.graph for plan in manifest.plans} == {"frontend", "encoder"}
    (plan,) = (plan for plan in manifest.plans if plan.graph == "encoder")
    assert [tensor.name for tensor in plan.outputs] == ["scores"]
    assert plan.profiles[0].shapes["features"].max[:2] == (2, 1000)
    assert open_bundle(out).problems() == []
    assert run_export(checkpoint, out, precisions=("fp16",), plans=plans) == manifest


def test_snapshot_without_vocabulary_is_complete(checkpoint: Path) -> None:
    assert hub._missing(checkpoint, ["*"]) == ""


def test_synthetic_checkpoint(tmp_path: Path) -> None:
    arguments = ["--labels", "20", "--layers", "2", "--hidden-size", "32", "--channels", "16"]
    folder = tmp_path / "synthetic"
    command.main([*arguments, "--out", str(folder)], standalone_mode=False)
    labels = open_checkpoint(str(folder)).config.labels
    assert len(labels) == len(set(labels)) == 20
    assert list(labels) != sorted(labels)
    audios = clips()[:2]
    expected, inputs = oracle(folder, audios)
    run_export(folder, tmp_path / "bundle")
    found = run(
        tmp_path / "bundle", folder, inputs["input_values"].numpy(), [len(a) for a in audios]
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_graphs_run_in_onnx_runtime_in_every_precision(bundle: Path) -> None:
    for precision in PRECISIONS:
        path = open_bundle(bundle).graph("encoder", precision)[1]
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        feeds = {"features": np.ones((2, 9, 16), np.float32), "lengths": np.array([9, 4])}
        assert np.isfinite(session.run(None, feeds)[0]).all()


def test_synthetic_checkpoint_has_published_size() -> None:
    """facebook/mms-lid-126 has 3,864,495,808 bytes."""
    document = json.loads((wav2vec2.TEMPLATE / "config.json").read_text())
    config = parse_classifier_config(wav2vec2.classifier_document(document, 126), where="")
    shapes = classifier_shapes(config) | {"masked_spec_embed": (config.hidden_size,)}
    start, content = tensors.header(wav2vec2.hub_shapes(shapes))
    assert len(shapes) == 1098
    assert len(start) + content == 3_864_495_808
