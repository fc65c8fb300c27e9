"""Bundles on disk: equal bytes however an export went, and never an invalid bundle."""

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from export_runs import digests, edit_tensors, run_export
from mms_engine.bundle import MANIFEST, open_bundle
from mms_engine.bundle.files import digest
from mms_engine.errors import BundleError, BundleFileMissing, MmsError
from mms_export.bundle import contents, pipeline
from mms_export.checkpoints.open import open_checkpoint, read_adapter
from mms_export.graphs.wav2vec2 import step
from mms_export.tasks.asr import ASR
from tiny_models import LANGUAGES, TinyOptions, make_tiny


def test_bundle_is_whole_and_has_no_other_files(checkpoint, bundle):
    opened = open_bundle(bundle)
    assert opened.problems() == []
    assert opened.languages == tuple(sorted(LANGUAGES))
    assert opened.precisions == ("fp32", "fp16", "bf16", "int8")
    named = {file.path for file in opened.manifest.files()}
    assert set(digests(bundle)) == named | {MANIFEST}
    fingerprint = digest(checkpoint / "model.safetensors")
    assert opened.manifest.source.fingerprint == fingerprint
    assert opened.manifest.source.sha256 == {"model.safetensors": fingerprint}


def test_bundle_is_readable_by_others_and_names_no_absolute_path(bundle):
    files = [path for path in bundle.rglob("*.*") if path.is_file()]
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in files)
    text = (bundle / MANIFEST).read_text()
    assert str(Path.home()) not in text
    assert str(bundle) not in text


def test_manifest_has_parity(bundle):
    for graph in open_bundle(bundle).manifest.graphs:
        assert (graph.parity is not None) == (graph.name in ("encoder", "step"))
        if graph.parity:
            assert graph.parity.argmax_agreement >= graph.parity.min_argmax_agreement
            assert graph.parity.seconds == 16.0
            assert graph.parity.max_abs_error < (1e-4 if graph.precision == "fp32" else 1)


def test_adapter_is_folded_and_stored_in_float16(checkpoint, bundle):
    source = open_checkpoint(str(checkpoint))
    tensors = read_adapter(source.adapters["swh"], source.config)
    found = open_bundle(bundle).adapter("swh")
    assert found.vocab == source.adapters["swh"].vocab
    np.testing.assert_array_equal(
        found.head_weight, tensors.read("lm_head.weight").astype(np.float16)
    )
    name = "encoder.layers.1.adapter_layer"
    row = found.adapter.astype(np.float32).reshape(2, -1)[1]  # the second of two layers
    down, down_bias, up, up_bias = np.split(row, np.cumsum([32 * 4, 4, 4 * 32]))
    values = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    affine = values * tensors.read(f"{name}.norm.weight") + tensors.read(f"{name}.norm.bias")
    wanted = affine @ tensors.read(f"{name}.linear_1.weight").T
    wanted = np.maximum(wanted + tensors.read(f"{name}.linear_1.bias"), 0)
    wanted = wanted @ tensors.read(f"{name}.linear_2.weight").T
    wanted += tensors.read(f"{name}.linear_2.bias")
    packed = np.maximum(values @ down.reshape(32, 4) + down_bias, 0) @ up.reshape(4, 32) + up_bias
    np.testing.assert_allclose(packed, wanted, atol=0.02)


def test_two_exports_give_equal_bytes(checkpoint, bundle, tmp_path):
    run_export(checkpoint, tmp_path / "b", precisions=("fp32", "fp16", "bf16", "int8"), jobs=2)
    assert digests(tmp_path / "b") == digests(bundle)


def test_languages_and_precisions_can_be_added(checkpoint, bundle, tmp_path):
    out = tmp_path / "b"
    run_export(checkpoint, out, languages="swh")
    assert open_bundle(out).languages == ("swh",)
    run_export(checkpoint, out, languages="eng,uzb*", precisions=("int8",))
    opened = open_bundle(out)
    assert opened.languages == tuple(sorted(LANGUAGES))
    assert opened.precisions == ("fp32", "int8")
    assert opened.problems() == []
    shared = digests(out)
    del shared[MANIFEST]
    assert shared.items() <= digests(bundle).items()


def test_second_export_writes_nothing(checkpoint, tmp_path):
    run_export(checkpoint, tmp_path / "b")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "b").rglob("*.*")}
    run_export(checkpoint, tmp_path / "b")
    files = [path for path in before if path.is_file()]
    assert {path: path.stat().st_mtime_ns for path in files} == {p: before[p] for p in files}


def test_graph_of_an_earlier_release_is_replaced(checkpoint, tmp_path, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(step, "update_name", lambda name: f"update_{name}")
        run_export(checkpoint, tmp_path / "b")
    encoder = tmp_path / "b/graphs/encoder.fp32.onnx"
    written = encoder.stat().st_mtime_ns
    run_export(checkpoint, tmp_path / "b")
    assert encoder.stat().st_mtime_ns == written
    run_export(checkpoint, tmp_path / "fresh")
    assert digests(tmp_path / "b") == digests(tmp_path / "fresh")


@pytest.mark.parametrize("name", ["graphs/encoder.fp32.onnx", "adapters/swh.safetensors"])
def test_damaged_file_is_replaced(checkpoint, tmp_path, name):
    out = tmp_path / "b"
    run_export(checkpoint, out)
    whole = digests(out)
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    assert len(open_bundle(out).problems()) == 1
    run_export(checkpoint, out)
    assert digests(out) == whole


def test_newer_adapter_replaces_its_copy(checkpoint, tmp_path):
    source = Path(shutil.copytree(checkpoint, tmp_path / "source"))
    out = tmp_path / "b"
    run_export(source, out)
    old = open_bundle(out).adapter("swh")
    path = source / "adapter.swh.safetensors"
    edit_tensors(path, lambda tensors: tensors["lm_head.bias"].add_(1))
    os.utime(path, (time.time() + 5, time.time() + 5))
    run_export(source, out)
    new = open_bundle(out).adapter("swh")
    np.testing.assert_allclose(new.head_bias, old.head_bias + 1, atol=0.01)


def test_newer_vocabulary_replaces_its_copy(checkpoint, tmp_path):
    source = Path(shutil.copytree(checkpoint, tmp_path / "source"))
    out = tmp_path / "b"
    run_export(source, out)
    path = source / "vocab.json"
    vocabs = json.loads(path.read_text())
    vocabs["swh"] = {"é" if i == 5 else token: i for token, i in vocabs["swh"].items()}
    path.write_text(json.dumps(vocabs))
    os.utime(path, (time.time() + 5, time.time() + 5))
    run_export(source, out)
    assert open_bundle(out).vocabulary("swh").tokens[5] == "é"


def test_manifest_omits_files_being_replaced(checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "b"
    run_export(checkpoint, out)
    (out / "adapters" / "swh.safetensors").write_bytes(b"damaged")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "export_data", stop)
    with pytest.raises(KeyboardInterrupt):
        run_export(checkpoint, out)
    opened = open_bundle(out)
    assert opened.problems() == []
    assert "swh" not in opened.languages
    monkeypatch.undo()
    run_export(checkpoint, out)
    assert open_bundle(out).languages == tuple(sorted(LANGUAGES))


def test_bundle_of_another_model_is_refused(checkpoint, tmp_path):
    run_export(checkpoint, tmp_path / "b")
    other = make_tiny(tmp_path / "other", TinyOptions(seed=7))
    with pytest.raises(
        BundleError, match="holds a bundle of tiny-mms, whose weights are not those"
    ):
        run_export(other, tmp_path / "b")
    manifest = run_export(other, tmp_path / "b", replace=True, languages="swh")
    assert manifest.source.name == "other"
    assert open_bundle(tmp_path / "b").problems() == []
    assert not (tmp_path / "b" / "adapters" / "eng.safetensors").exists()


def test_bundle_of_another_adapter_dtype_is_refused(checkpoint, tmp_path):
    run_export(checkpoint, tmp_path / "b")
    with pytest.raises(
        BundleError, match="holds adapters in float16: give --adapter-dtype float16"
    ):
        run_export(checkpoint, tmp_path / "b", data_dtype="float32")


def test_adapter_beyond_float16_is_refused(checkpoint, tmp_path):
    source = Path(shutil.copytree(checkpoint, tmp_path / "source"))
    edit_tensors(
        source / "adapter.swh.safetensors", lambda tensors: tensors["lm_head.weight"].fill_(1e6)
    )
    with pytest.raises(MmsError, match=r"not finite in float16: .* --adapter-dtype float32"):
        run_export(source, tmp_path / "b")
    run_export(source, tmp_path / "c", data_dtype="float32")
    assert open_bundle(tmp_path / "c").adapter("swh").head_weight.dtype == np.float32


def test_weights_not_finite_are_refused(checkpoint, tmp_path):
    source = Path(shutil.copytree(checkpoint, tmp_path / "source"))
    name = "wav2vec2.encoder.layers.0.attention.q_proj.weight"
    edit_tensors(source / "model.safetensors", lambda tensors: tensors[name][0].fill_(np.nan))
    with pytest.raises(
        MmsError, match=r"qkv_proj\.weight has values that are not finite in float32"
    ):
        run_export(source, tmp_path / "b")
    with pytest.raises(BundleFileMissing):
        open_bundle(tmp_path / "b")


def test_failed_parity_fails_the_export(checkpoint, tmp_path, monkeypatch):
    def wrong(*_: object) -> list[np.ndarray]:
        return [np.eye(499, 9, dtype=np.float32), np.eye(299, 7, dtype=np.float32)]

    monkeypatch.setattr(contents, "ASR", dataclasses.replace(ASR, outputs=wrong))
    with pytest.raises(
        MmsError, match="the fp32 graphs give the model's most likely token in only"
    ):
        run_export(checkpoint, tmp_path / "b")
    with pytest.raises(BundleFileMissing, match="its export was interrupted"):
        open_bundle(tmp_path / "b")


def test_damaged_manifest_is_refused_and_replaced(checkpoint, tmp_path):
    out = tmp_path / "b"
    run_export(checkpoint, out)
    (out / MANIFEST).write_text('{"schema": 2}')
    with pytest.raises(BundleError, match="is not a bundle manifest"):
        run_export(checkpoint, out)
    run_export(checkpoint, out, replace=True)
    assert open_bundle(out).problems() == []
