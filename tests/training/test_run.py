"""A training from recordings to a bundle with the command, on the demo checkpoint."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from transformers import AutoProcessor, Wav2Vec2ForCTC

from export_runs import digests
from mms_engine import Recognizer
from mms_engine.audio import read_audio
from mms_export.checkpoints.open import demo_checkpoint
from mms_export.cli import main as mms_export
from mms_export.cli.train import main as mms_train
from mms_export.training.folder import Sidecar
from tiny_models import make_tiny

CLIPS = demo_checkpoint().parent / "clips"
LANGUAGE = "xyz"
COURSE = ("--steps", "24", "--evaluate", "8", "--batch-seconds", "12", "--precision", "fp32")
PROGRAM = "import torch; torch.set_num_threads(1); from mms_export.cli.train import main; main()"


def rows() -> list[dict[str, str]]:
    """Return the demo's recordings, as if they were of one language."""
    columns, *lines = [
        line.split("\t") for line in (CLIPS / "clips.tsv").read_text("utf-8").splitlines()
    ]
    return [dict(zip(columns, line, strict=True)) for line in lines]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "manifest.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(r for r in rows() if r["lang"] in ("ita", "spa", "fra")):
            audio = str(CLIPS / row["file"])
            line = {"audio_filepath": audio, "text": row["text"], "speaker": f"s{number % 3}"}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def invoke(*given: object) -> Result:
    torch.set_num_threads(1)
    return CliRunner().invoke(mms_train, [str(part) for part in given])


@pytest.fixture(scope="module")
def bundle(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("bundle") / "demo"
    shutil.copytree(demo_bundle, copy)
    return copy


@pytest.fixture(scope="module")
def trained(corpus: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained language, which is in the bundle too."""
    out = tmp_path_factory.mktemp("trained") / LANGUAGE
    given = ("--lang", LANGUAGE, "--base", "demo", "--out", out, "--bundle", bundle, *COURSE)
    result = invoke(corpus, *given)
    assert result.exit_code == 0, result.output
    return out


def test_other_parts_of_the_bundle_stay(trained: Path, bundle: Path, demo_bundle: Path) -> None:
    before, after = digests(demo_bundle), digests(bundle)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"manifest.json", f"adapters/{LANGUAGE}.safetensors"}
    manifests = [json.loads((path / "manifest.json").read_text()) for path in (demo_bundle, bundle)]
    del manifests[1]["data"][LANGUAGE]
    assert manifests[0] == manifests[1]


def test_text_is_that_of_transformers_alone_and_in_a_mixed_batch(
    trained: Path, bundle: Path
) -> None:
    processor = AutoProcessor.from_pretrained(trained)
    model = Wav2Vec2ForCTC.from_pretrained(
        trained, target_lang=LANGUAGE, ignore_mismatched_sizes=True
    ).eval()
    audio = [read_audio(CLIPS / row["file"]).samples for row in rows()]
    expected = []
    for samples in audio:
        values = processor(samples, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            ids = model(**values).logits.argmax(-1)[0]
        expected.append(processor.decode(ids))
    assert any(expected)
    with Recognizer.open(bundle, device="cpu", threads=1) as recognizer:
        alone = [recognizer.transcribe(samples, LANGUAGE).text for samples in audio]
        others = [row["lang"] for row in rows()]
        own = [recognizer.transcribe(s, c).text for s, c in zip(audio, others, strict=True)]
        mixed = recognizer.transcribe(
            [samples for samples in audio for _ in range(2)],
            [code for other in others for code in (LANGUAGE, other)],
        )
    assert alone == expected
    assert [found.text for found in mixed[::2]] == expected
    assert [found.text for found in mixed[1::2]] == own


def test_sidecar_tells_what_was_measured(trained: Path, corpus: Path) -> None:
    sidecar = Sidecar(**json.loads((trained / f"adapter.{LANGUAGE}.json").read_text("utf-8")))
    assert (sidecar.base, sidecar.licence) == ("demo", "CC-BY-SA-3.0")
    assert sidecar.start in {"ita", "spa", "fra"}
    assert [found["step"] for found in sidecar.history] == [8, 16, 24]
    assert sidecar.train_speakers + sidecar.held_out_speakers == 3
    assert not (trained / ".training").exists()
    again = invoke(
        corpus, "--lang", LANGUAGE, "--base", "demo", "--out", trained, *COURSE, "--json"
    )
    assert json.loads(again.stdout)["identity"] == sidecar.identity


def test_a_finished_adapter_is_replaced_on_request_only(trained: Path, corpus: Path) -> None:
    result = invoke(corpus, "--lang", LANGUAGE, "--base", "demo", "--out", trained, "--seed", "7")
    assert result.exit_code == 1
    assert "is there already, of other recordings, texts or options" in result.output


def test_killed_and_resumed_equals_undisturbed(trained: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / LANGUAGE
    given = [str(corpus), "--lang", LANGUAGE, "--base", "demo", "--out", str(out), *COURSE]
    command = [sys.executable, "-c", PROGRAM, *given]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(out.glob(".training/*.pt")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (state,) = out.glob(".training/*.pt")
    assert 0 < torch.load(state, weights_only=True)["step"] < 24
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    name = f"adapter.{LANGUAGE}.safetensors"
    assert (out / name).read_bytes() == (trained / name).read_bytes()
    assert not list(out.rglob("*.partial*"))


def test_an_adapter_is_refused_beside_another_base(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(trained, folder, symlinks=True)
    model = folder / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.unlink()
    model.write_bytes(content)
    given = ["--model", str(folder), "--out", str(tmp_path / "bundle"), "--precision", "fp32"]
    result = CliRunner().invoke(mms_export, given)
    assert result.exit_code == 1
    assert "was trained for another base model" in result.output


def test_bases_and_bundles_that_do_not_serve(corpus: Path, demo_lid: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tiny = make_tiny(tmp_path / "tiny")
    for given, message in (
        (("--lang", "ita", "--base", "demo"), "has the language ita already"),
        (("--lang", "xyz", "--base", "demo", "--from", "itq"), "did you mean ita"),
        (("--lang", "xyz", "--base", "demo", "--bundle", demo_lid), "is a bundle of demo-lid"),
        (("--lang", "xyz", "--base", "demo", "--bundle", tiny), "is not a bundle"),
        (("--lang", "xyz", "--base", "demo-lid"), "has no language adapters"),
    ):
        result = invoke(corpus, *given, "--out", out, *COURSE)
        assert result.exit_code == 1, given
        assert message in result.output
        assert not list(out.glob("*"))


def test_a_training_without_text_writes_nothing(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--lang", "xyz", "--base", "demo", "--from", "fresh", "--out", out)
    result = invoke(corpus, *given, "--steps", "30", "--evaluate", "30", "--batch-seconds", "6")
    assert result.exit_code == 1
    assert "still writes nothing" in result.output
    assert not list(out.glob("adapter.*"))
