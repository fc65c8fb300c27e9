"""Suite `tts` on two tiny voices with the real peers."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mms_bench.errors import Failed
from mms_bench.run.result import load
from mms_bench.suites.tts.sentences import compare
from tiny_voices import TINY, make_voice

QUICK = ("--min-time", "0.02", "--min-samples", "2", "--warmup", "0.01")
PEERS = ("transformers", "sherpa-onnx", "ours-fp32")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench-tts")
    for seed, code in enumerate(("eng", "fra")):
        make_voice(folder / "voices" / code, code, seed=seed, **TINY)
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}

    def run(program, *words):
        command = [Path(sys.executable).with_name(program), *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    voices, bundle, out = (folder / name for name in ("voices", "bundle", "tts.json"))
    run("mms-export", "--model", voices, "--out", bundle, "--adapter-dtype", "float32")
    models = ("--checkpoint", voices, "--bundle", bundle, "--peers", ",".join(PEERS))
    cases = ("--cases", "sentence,switch,memory,listeners")
    run("mms-bench", "run", "tts", *models, *cases, *QUICK, "--json", out)
    return load(out)


def test_all_say_the_same(result):
    sentence = result.find("sentence/transformers")
    assert sentence.status == "ok", sentence.reason
    ours = result.find("sentence/ours-fp32")
    assert ours.status == "ok", ours.reason
    assert ours.amount == sentence.amount > 0.1
    assert ours.figures["snr"] > 80
    sherpa = result.find("sentence/sherpa-onnx")
    if importlib.util.find_spec("sherpa_onnx"):
        assert sherpa.status == "ok", sherpa.reason
        assert sherpa.amount == pytest.approx(sentence.amount, rel=0.02)
    else:
        assert sherpa.status == "skipped"


def test_voices_change_in_memory_and_on_disk(result):
    resident, disk = result.find("voice-memory/ours"), result.find("voice-disk/ours")
    assert resident.status == disk.status == "ok", (resident.reason, disk.reason)
    assert resident.summary.median < disk.summary.median
    assert result.find("voice-disk/transformers").summary.median > disk.summary.median
    assert result.find("voice-disk/sherpa-onnx").status in ("ok", "skipped")


def test_first_audio_and_listeners_are_measured(result):
    assert result.find("first/ours-fp32").status == "ok"
    assert result.find("listeners/ours-fp32 1 listener").figures["first"] > 0
    assert result.model.languages == 2
    assert not result.model.full_size


def test_memory_is_measured_with_one_voice_and_with_all(result):
    for peer in PEERS:
        one, both = (result.find(f"memory/{peer} {count}") for count in ("1 voice", "2 voices"))
        if one.status == "skipped":
            continue
        assert one.status == both.status == "ok", (one.reason, both.reason)
        assert one.peak_memory > 1 << 20


def test_other_speech_is_refused():
    speech = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    assert compare(speech, speech)["snr"] > 150
    assert compare(speech[:-256], speech) == {}
    with pytest.raises(Failed, match="12000 samples, the reference has 16000"):
        compare(speech[:12_000], speech)
    with pytest.raises(Failed, match=r"-6\.0 dB"):
        compare(speech / 2, speech)
