"""What an export leaves on disk: the same bytes however it came about, never a wrong bundle."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from mms_engine.bundle import MANIFEST, open_bundle
from mms_engine.bundle.files import digest
from mms_engine.errors import BundleError, BundleFileMissing, MmsError
from mms_export import pipeline, sizes
from mms_export.checkpoints.open import read_adapter
from mms_export.graphs import contract
from mms_export.options import ExportOptions
from mms_export.pipeline import export
from mms_export.progress import Reporter
from mms_export.sources import open_source
from mms_export.workspace import JOURNAL, locked
from tiny_models import LANGUAGES, TinyOptions, make_tiny, make_tiny_fairseq

QUIET = Reporter(quiet=True)


def run(model: Path, out: Path, **changes: object):
    options = ExportOptions(model=str(model), languages="all", out=out, precisions=("fp32",))
    return export(dataclasses.replace(options, **changes), QUIET)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path) for path in files}


def command(model: Path, out: Path, *more: str) -> list[str]:
    program = "from mms_export.cli import main; main()"
    given = ["--model", str(model), "--out", str(out), "--precision", "fp32,int8", "--jobs", "2"]
    return [sys.executable, "-c", program, *given, *more]


def test_a_bundle_is_whole_and_nothing_else_is_left(checkpoint, bundle):
    opened = open_bundle(bundle)
    assert opened.problems() == []
    assert opened.languages == tuple(sorted(LANGUAGES))
    assert opened.precisions == ("fp32", "fp16", "bf16", "int8")
    named = {file.path for file in opened.manifest.files()}
    assert set(digests(bundle)) == named | {MANIFEST}
    assert opened.manifest.source.fingerprint == digest(checkpoint / "model.safetensors")


def test_parity_is_in_the_manifest(bundle):
    for graph in open_bundle(bundle).manifest.graphs:
        assert (graph.parity is not None) == (graph.stage == "encoder")
        if graph.parity:
            assert graph.parity.argmax_agreement >= graph.parity.min_argmax_agreement
            assert graph.parity.seconds == 16.0
            assert graph.parity.max_abs_error < (1e-4 if graph.precision == "fp32" else 1)


def test_an_adapter_is_stored_folded_in_float16(checkpoint, bundle):
    source = open_source(str(checkpoint))
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


def test_two_exports_give_the_same_bytes(checkpoint, bundle, tmp_path):
    run(checkpoint, tmp_path / "b", precisions=("fp32", "fp16", "bf16", "int8"), jobs=2)
    assert digests(tmp_path / "b") == digests(bundle)


def test_languages_and_precisions_can_be_added(checkpoint, bundle, tmp_path):
    out = tmp_path / "b"
    run(checkpoint, out, languages="swh")
    assert open_bundle(out).languages == ("swh",)
    run(checkpoint, out, languages="eng,uzb*", precisions=("int8",))
    opened = open_bundle(out)
    assert opened.languages == tuple(sorted(LANGUAGES))
    assert opened.precisions == ("fp32", "int8")
    assert opened.problems() == []
    shared = digests(out)
    del shared[MANIFEST]
    assert shared.items() <= digests(bundle).items()


def test_nothing_is_written_again(checkpoint, tmp_path):
    run(checkpoint, tmp_path / "b")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "b").rglob("*.*")}
    run(checkpoint, tmp_path / "b")
    files = [path for path in before if path.is_file()]
    assert {path: path.stat().st_mtime_ns for path in files} == {p: before[p] for p in files}


@pytest.mark.parametrize("name", ["graphs/encoder.fp32.onnx", "adapters/swh.safetensors"])
def test_a_damaged_file_is_written_again(checkpoint, tmp_path, name):
    out = tmp_path / "b"
    run(checkpoint, out)
    whole = digests(out)
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    assert len(open_bundle(out).problems()) == 1
    run(checkpoint, out)
    assert digests(out) == whole


def test_a_newer_adapter_replaces_the_old(checkpoint, tmp_path):
    source = Path(shutil.copytree(checkpoint, tmp_path / "source"))
    out = tmp_path / "b"
    run(source, out)
    old = open_bundle(out).adapter("swh")
    path = source / "adapter.swh.safetensors"
    tensors = load_file(path)
    tensors["lm_head.bias"] += 1
    save_file(tensors, path)
    os.utime(path, (time.time() + 5, time.time() + 5))
    run(source, out)
    new = open_bundle(out).adapter("swh")
    np.testing.assert_allclose(new.head_bias, old.head_bias + 1, atol=0.01)


def test_graphs_of_an_older_recipe_are_written_again(checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "b"
    monkeypatch.setattr("mms_export.stages.RECIPE", contract.RECIPE - 1)
    run(checkpoint, out)
    monkeypatch.undo()
    manifest = run(checkpoint, out)
    assert {graph.recipe for graph in manifest.graphs} == {contract.RECIPE}
    assert open_bundle(out).problems() == []


def test_while_a_file_is_replaced_the_manifest_does_not_name_it(checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "b"
    run(checkpoint, out)
    (out / "adapters" / "swh.safetensors").write_bytes(b"damaged")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "export_adapters", stop)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, out)
    opened = open_bundle(out)
    assert opened.problems() == []
    assert "swh" not in opened.languages
    monkeypatch.undo()
    run(checkpoint, out)
    assert open_bundle(out).languages == tuple(sorted(LANGUAGES))


def test_a_fairseq_checkpoint_gives_the_same_graphs(checkpoint, bundle, tmp_path):
    path = make_tiny_fairseq(tmp_path / "mms1b_tiny.pt", checkpoint)
    run(path, tmp_path / "b", jobs=2)
    ours, theirs = digests(tmp_path / "b"), digests(bundle)
    for name in ("graphs/frontend.fp32.onnx", "graphs/encoder.fp32.onnx"):
        assert ours[name] == theirs[name]
    opened = open_bundle(tmp_path / "b")
    assert opened.manifest.source.format == "fairseq"
    for code in LANGUAGES:
        assert opened.adapter(code).vocab == open_bundle(bundle).adapter(code).vocab


def test_another_model_is_refused(checkpoint, tmp_path):
    run(checkpoint, tmp_path / "b")
    other = make_tiny(tmp_path / "other", TinyOptions(seed=7))
    with pytest.raises(
        BundleError, match="holds a bundle of tiny-mms, whose weights are not those"
    ):
        run(other, tmp_path / "b")
    manifest = run(other, tmp_path / "b", replace=True, languages="swh")
    assert manifest.source.name == "other"
    assert open_bundle(tmp_path / "b").problems() == []
    assert not (tmp_path / "b" / "adapters" / "eng.safetensors").exists()


def test_another_adapter_dtype_is_refused(checkpoint, tmp_path):
    run(checkpoint, tmp_path / "b")
    with pytest.raises(
        BundleError, match="holds adapters in float16: give --adapter-dtype float16"
    ):
        run(checkpoint, tmp_path / "b", adapter_dtype="float32")


def test_an_adapter_that_float16_cannot_hold(checkpoint, tmp_path):
    source = Path(shutil.copytree(checkpoint, tmp_path / "source"))
    path = source / "adapter.swh.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"][0, 0] = 1e6
    save_file(tensors, path)
    with pytest.raises(MmsError, match=r"not finite in float16: .* --adapter-dtype float32"):
        run(source, tmp_path / "b")
    run(source, tmp_path / "c", adapter_dtype="float32")
    assert open_bundle(tmp_path / "c").adapter("swh").head_weight.dtype == np.float32


def test_weights_that_are_not_finite(checkpoint, tmp_path):
    source = Path(shutil.copytree(checkpoint, tmp_path / "source"))
    tensors = load_file(source / "model.safetensors")
    tensors["wav2vec2.encoder.layers.0.attention.q_proj.weight"][0, 0] = float("nan")
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(
        MmsError, match=r"qkv_proj\.weight has values that are not finite in float32"
    ):
        run(source, tmp_path / "b")
    with pytest.raises(BundleFileMissing):
        open_bundle(tmp_path / "b")


def test_failed_parity_fails_the_export(checkpoint, tmp_path, monkeypatch):
    def wrong(*_: object) -> list[np.ndarray]:
        return [np.eye(499, 9, dtype=np.float32), np.eye(299, 7, dtype=np.float32)]

    monkeypatch.setattr(pipeline, "graph_logits", wrong)
    with pytest.raises(
        MmsError, match="the fp32 graphs give the model's most likely token in only"
    ):
        run(checkpoint, tmp_path / "b")
    with pytest.raises(BundleFileMissing, match="its export was interrupted"):
        open_bundle(tmp_path / "b")


def test_too_little_room_is_said_before_anything_is_written(checkpoint, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(BundleError, match=r"has 1\.05 MB free, the export needs 67"):
        run(checkpoint, tmp_path / "b")
    assert not (tmp_path / "b" / "adapters").exists()


def test_two_exports_at_once(checkpoint, tmp_path):
    with locked(tmp_path), pytest.raises(BundleError, match="another export is writing to"):
        run(checkpoint, tmp_path)


def test_a_folder_that_cannot_be_made(checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"cannot write to .*file/b: Not a directory"):
        run(checkpoint, tmp_path / "file" / "b")


def test_a_folder_without_permission(checkpoint):
    """As another user where the tests run as root, to whom no folder is closed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        readable = Path(shutil.copytree(checkpoint, folder / "model"))
        closed = folder / "closed"
        closed.mkdir()
        for path in (folder, readable, closed, *readable.iterdir()):
            path.chmod(0o555)
        given = ["--model", str(readable), "--out", str(closed), "--precision", "fp32"]
        # Everything is imported first: that other user may not be able to read the libraries.
        program = (
            "import os, mms_export.pipeline; from mms_export.cli import main;"
            "os.geteuid() or os.setuid(65534); main()"
        )
        result = subprocess.run(
            [sys.executable, "-c", program, *given], capture_output=True, text=True
        )
        folder.chmod(0o755)
        closed.chmod(0o755)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"Error: cannot write to {closed}: permission denied"


def test_a_torn_journal_line_is_ignored(checkpoint, tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "export_graph", stop)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, tmp_path / "b")
    monkeypatch.undo()
    journal = tmp_path / "b" / JOURNAL
    assert journal.read_bytes().count(b"\n") == 1 + len(LANGUAGES)
    journal.write_bytes(journal.read_bytes()[:-20])
    run(checkpoint, tmp_path / "b")
    assert open_bundle(tmp_path / "b").problems() == []
    assert not journal.exists()


def test_killed_at_random_and_resumed(checkpoint, bundle, tmp_path):
    """SIGKILL at random moments: what can be opened is whole, and the end is the same."""
    chance = random.Random(2)  # noqa: S311 - nothing secret
    out = tmp_path / "b"
    kills = 0
    for attempt in range(8):
        process = subprocess.Popen(command(checkpoint, out), stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=0.6 + chance.random() * (1 + attempt / 2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        if (out / MANIFEST).exists():
            assert open_bundle(out).problems() == []
    assert kills >= 3
    subprocess.run(command(checkpoint, out), check=True, capture_output=True)
    found, whole = digests(out), digests(bundle)
    assert MANIFEST in found
    assert all(found[name] == whole[name] for name in found if name != MANIFEST)
    fresh = tmp_path / "fresh"
    run(checkpoint, fresh, precisions=("fp32", "int8"))
    assert found == digests(fresh)


def test_ctrl_c_ends_with_130_and_no_traceback(checkpoint, tmp_path):
    process = subprocess.Popen(
        command(checkpoint, tmp_path / "b"), stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.time() + 60
    while not (tmp_path / "b").exists() and time.time() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert b"interrupted" in errors


def test_a_full_disk(checkpoint, tmp_path):
    """A limit on the size of files stands for a full disk: the same error of the same call."""
    program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000));"
        "from mms_export.cli import main; main()"
    )
    given = ["--model", str(checkpoint), "--out", str(tmp_path / "b"), "--precision", "fp32"]
    result = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, text=True)
    assert result.returncode == 1
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("Error")]
    assert "cannot write" in line
    assert "it goes on where it stopped" in line
    assert not list(tmp_path.rglob("*.partial"))
    assert not (tmp_path / "b" / MANIFEST).exists()
    run(checkpoint, tmp_path / "b")
    assert open_bundle(tmp_path / "b").problems() == []


def test_json_manifest_has_no_paths_of_this_machine(bundle):
    text = (bundle / MANIFEST).read_text()
    assert str(Path.home()) not in text
    assert str(bundle) not in text
    assert json.loads(text)["source"]["name"] == "tiny-mms"
