"""Voices of other sizes or another sample rate than those of a bundle, and bundles of schema 2."""

import json
import shutil
from pathlib import Path

import pytest

from export_runs import digests, invoke, run_export
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import MANIFEST
from mms_engine.bundle.voices import read_voice
from mms_engine.errors import BundleError, LanguageError
from tiny_voices import CODES, PRECISIONS, STRANGER, make_voice


@pytest.fixture(scope="module")
def checkpoint(voices: Path) -> Path:
    return voices


@pytest.fixture(scope="module")
def bundle(voices_bundle: Path) -> Path:
    return voices_bundle


def test_voice_of_other_sizes_gets_graphs_of_its_own(
    checkpoint: Path, bundle: Path, tmp_path: Path
) -> None:
    mixed = shutil.copytree(checkpoint, tmp_path / "mms-tts")
    make_voice(mixed / "hau", "hau", seed=9, **STRANGER)
    out = tmp_path / "out"
    arguments = ("--model", mixed, "--adapter-dtype", "float32", "--precision", "fp32,fp16,int8")
    result = invoke(*arguments, "--out", out)
    assert result.exit_code == 0, result.output
    assert (
        "1 voice differs from most in hidden_size (12, not 16) and has graphs of its own: hau\n"
    ) in result.stderr
    manifest = open_bundle(out).manifest
    ((key, sizes),) = manifest.models.items()
    assert sizes.ffn_dim == 32
    assert {code: entry.model for code, entry in manifest.data.items()} == {
        **dict.fromkeys(CODES, ""),
        "hau": key,
    }
    assert [(graph.model, graph.precision) for graph in manifest.graphs] == [
        (model, precision) for model in ("", key) for precision in PRECISIONS for _ in range(3)
    ]
    assert all(graph.parity for graph in manifest.graphs)
    assert read_voice(out / manifest.data["hau"].file.path).fingerprint == key
    ours, alone = digests(out), digests(bundle)
    assert ours.items() >= {path: d for path, d in alone.items() if path != MANIFEST}.items()

    before = (out / MANIFEST).read_bytes()
    assert invoke(*arguments, "--out", out).exit_code == 0
    assert (out / MANIFEST).read_bytes() == before
    one_by_one = tmp_path / "one-by-one"
    for languages in ("eng", "hau", "swh,yor"):
        result = invoke(*arguments, "--out", one_by_one, "--lang", languages)
        assert result.exit_code == 0, result.output
    assert digests(one_by_one) == ours

    # The stranger's source is replaced by a voice like the others: its graphs go.
    shutil.rmtree(mixed / "hau")
    shutil.copytree(checkpoint / "eng", mixed / "hau")
    assert invoke(*arguments, "--out", out, "--lang", "hau").exit_code == 0
    manifest = open_bundle(out).manifest
    assert not manifest.models
    assert {graph.model for graph in manifest.graphs} == {""}
    assert set(digests(out)) - set(digests(bundle)) == {
        "voices/hau.safetensors",
        "voices/hau.int8.safetensors",
    }


def test_bundle_of_schema_2_is_completed(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    run_export(checkpoint, out, languages="eng", precisions=PRECISIONS, data_dtype="float32")
    before = {path: (out / path).stat().st_mtime_ns for path in digests(out) if path != MANIFEST}
    document = json.loads((out / MANIFEST).read_text()) | {"schema": 2}
    del document["models"]
    for part in (*document["graphs"], *document["data"].values()):
        del part["model"]
    (out / MANIFEST).write_text(json.dumps(document))
    run_export(checkpoint, out, precisions=PRECISIONS, data_dtype="float32")
    assert digests(out) == digests(bundle)
    assert before == {path: (out / path).stat().st_mtime_ns for path in before}


def test_voice_of_another_sample_rate_is_skipped_or_named(checkpoint: Path, tmp_path: Path) -> None:
    mixed = shutil.copytree(checkpoint, tmp_path / "mixed")
    shutil.copytree(checkpoint / "eng", mixed / "hau")
    path = mixed / "hau" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sampling_rate": 22_050}))
    result = invoke("--model", mixed, "--out", tmp_path / "out", "--precision", "fp32")
    assert result.exit_code == 0
    assert "skipped: the voice hau" in result.stderr
    assert "has 22050 samples per second, the others have 16000: export it alone" in result.stderr
    with pytest.raises(LanguageError, match="22050 samples per second"):
        run_export(mixed, tmp_path / "both", languages="eng,swh,hau")
    assert list(run_export(mixed, tmp_path / "alone", languages="hau").data) == ["hau"]
    with pytest.raises(BundleError, match=r"has 16000 samples per second, .* choose another --out"):
        run_export(mixed, tmp_path / "out", languages="hau")
