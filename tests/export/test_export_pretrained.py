"""Export of pretrained networks without a head."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from export_runs import invoke, run_export
from mms_engine import Identifier, Recognizer
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Pretrained
from mms_engine.errors import BundleError, MmsError
from mms_export.checkpoints import hub
from mms_export.checkpoints.open import open_checkpoint
from mms_export.parity import comparison
from mms_export.synthetic import command
from tiny_models import TinyOptions, make_tiny_pretrained


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_pretrained(tmp_path_factory.mktemp("tiny") / "tiny-pretrained")


def test_manifest_and_parity(tmp_path: Path, checkpoint: Path) -> None:
    run_export(checkpoint, tmp_path / "bundle", precisions=("fp32", "fp16", "bf16", "int8"))
    opened = open_bundle(tmp_path / "bundle")
    assert opened.model(Wav2Vec2Pretrained).num_hidden_layers == 2
    assert opened.manifest.data == {}
    assert opened.languages == ()
    graphs = [graph for graph in opened.manifest.graphs if graph.name == "encoder"]
    assert [(t.name, t.shape) for t in graphs[0].outputs] == [("hidden", ("batch", "frames", 32))]
    assert graphs[0].parity.max_abs_error <= 1e-3
    for graph in graphs:
        assert graph.parity.argmax_agreement >= graph.parity.min_argmax_agreement
    for task in (Recognizer, Identifier):
        with pytest.raises(BundleError, match="holds a Wav2Vec2Pretrained model"):
            task.open(tmp_path / "bundle")


def test_export_without_parity_fails(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MIN_COSINE", 1.1)
    with pytest.raises(MmsError, match=r"graphs give the model's hidden states \(cosine"):
        run_export(checkpoint, tmp_path / "bundle")
    assert not (tmp_path / "bundle/manifest.json").exists()


def test_command_names_no_languages(tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "bundle"
    result = invoke("--model", checkpoint, "--out", out, "--precision", "fp32", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: tiny-pretrained, fp32\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--lang", "eng"], "leave out --lang"), (["--engine", "tensorrt"], "leave out --engine")],
)
def test_command_refuses(
    tmp_path: Path, checkpoint: Path, options: list[str], message: str
) -> None:
    result = invoke("--model", checkpoint, "--out", tmp_path / "bundle", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "bundle").exists()


def test_snapshot_without_vocabulary_is_complete(checkpoint: Path) -> None:
    assert hub._missing(checkpoint, ["*"]) == ""


def test_missing_tensor_is_named(tmp_path: Path, checkpoint: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "edited")
    tensors = load_file(folder / "model.safetensors")
    del tensors["wav2vec2.encoder.layer_norm.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(MmsError, match=r"encoder\.layer_norm\.weight is missing"):
        open_checkpoint(str(folder))


def test_network_of_another_kind_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "edited")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"do_stable_layer_norm": False}))
    with pytest.raises(MmsError, match="do_stable_layer_norm is False, an MMS pretrained"):
        open_checkpoint(str(folder))


def test_adapters_of_a_bare_model_are_in_the_graph(tmp_path: Path) -> None:
    folder = make_tiny_pretrained(tmp_path / "adapted", TinyOptions(), is_bare=True)
    assert (
        "encoder.layers.0.adapter_layer.norm.weight" in open_checkpoint(str(folder)).weights.shapes
    )


def test_synthetic_checkpoint(tmp_path: Path) -> None:
    arguments = ["--pretrained", "--layers", "2", "--hidden-size", "32", "--channels", "16"]
    command.main([*arguments, "--out", str(tmp_path / "model")], standalone_mode=False)
    run_export(tmp_path / "model", tmp_path / "bundle")
    assert open_bundle(tmp_path / "bundle").model(Wav2Vec2Pretrained)
