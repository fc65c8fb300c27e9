"""Targets of a full-size export, on a random checkpoint of the size of facebook/mms-1b-all.

Takes gigabytes and minutes, so runs only with MMS_FULL_SIZE=1. MMS_FULL_SIZE_DIR names the working
folder (40 GB), whose checkpoint and bundles are reused.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from transformers import Wav2Vec2ForCTC

from mms_engine.bundle import open_bundle
from mms_export.checkpoints.open import open_checkpoint
from mms_export.parity.comparison import Case
from mms_export.parity.execution import graph_logits

pytestmark = [
    pytest.mark.full_size,
    pytest.mark.skipif(os.environ.get("MMS_FULL_SIZE") != "1", reason="set MMS_FULL_SIZE=1"),
]
LANGUAGES = 40
ALL_LANGUAGES = 1162


@dataclass
class Run:
    """Duration of a process, and peak memory of it and its children in bytes."""

    seconds: float
    peak: int


def watch(*command: object) -> Run:
    start = time.perf_counter()
    process = psutil.Popen([str(part) for part in command])
    peak = 0
    while process.poll() is None:
        total = 0
        for one in (process, *process.children(recursive=True)):
            try:
                total += one.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(0.1)
    assert process.returncode == 0
    return Run(time.perf_counter() - start, peak)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("MMS_FULL_SIZE_DIR")
    return Path(named) if named else tmp_path_factory.mktemp("full")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    out = folder / "mms-1b-synthetic"
    if not (out / "config.json").exists():
        program = ("-m", "mms_export.synthetic", "--out", out, "--languages", LANGUAGES)
        watch(sys.executable, *program)
    assert (out / "model.safetensors").stat().st_size == 3_859_521_128
    return out


def exporter(checkpoint: Path, out: Path, precision: str, languages: str) -> list[object]:
    program = "from mms_export.cli import main; main()"
    given = ["--model", checkpoint, "--out", out, "--precision", precision, "--lang", languages]
    return [sys.executable, "-c", program, *given, "--quiet"]


def codes(checkpoint: Path) -> list[str]:
    return list(open_checkpoint(str(checkpoint)).adapters)[:LANGUAGES]


@pytest.fixture(scope="module")
def bundle(folder: Path, checkpoint: Path) -> Path:
    return folder / "test-bundle"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_graphs_take_three_minutes_and_eight_gigabytes(checkpoint, bundle, precision):
    run = watch(*exporter(checkpoint, bundle, precision, "eng,swh"))
    assert run.seconds < 180
    assert run.peak < 8e9


def test_adapters_take_ten_minutes_and_four_gigabytes(checkpoint, bundle):
    run = watch(*exporter(checkpoint, bundle, "fp32", ",".join(codes(checkpoint))))
    assert run.seconds * ALL_LANGUAGES / LANGUAGES < 600
    assert run.peak < 4e9


def test_the_bundle_is_as_large_as_its_weights(checkpoint, bundle):
    manifest = open_bundle(bundle).manifest
    source = open_checkpoint(str(checkpoint))
    shared = 962_496_128
    adapter = source.config.adapter_parameters
    vocabs = [entry.vocab_size for entry in manifest.data.values()]
    weights = 2 * sum(adapter + size * (source.config.hidden_size + 1) for size in vocabs)
    frontend = 4_200_000 * 4
    sizes = {"fp32": 4 * shared, "fp16": 2 * shared, "int8": shared + frontend * 3 // 4}
    weights += sum(sizes[precision] for precision in open_bundle(bundle).precisions)
    files = (path for path in bundle.rglob("*") if path.is_file() and path.parent.name != "plans")
    whole = sum(path.stat().st_size for path in files)
    assert abs(whole / weights - 1) < 0.03


def test_plans_take_ninety_seconds_and_ten_gigabytes(checkpoint, bundle):
    pytest.importorskip("tensorrt_rtx")
    command = exporter(checkpoint, bundle, "fp16", "eng,swh")
    nothing = watch(*command)
    run = watch(*command, "--engine", "tensorrt-rtx", "--sm", "86,89")
    assert run.seconds - nothing.seconds < 90
    assert run.peak < 10e9
    manifest = open_bundle(bundle).manifest
    assert {plan.graph for plan in manifest.plans} == {"frontend", "step"}
    # The frontend's weights are 0.4 % of all: its kernels are as large as they.
    (plan,) = (plan for plan in manifest.plans if plan.graph == "step")
    (graph,) = (g for g in manifest.graphs if (g.name, g.precision) == ("step", "fp16"))
    assert plan.file.size < 1.03 * sum(file.size for file in graph.files)


@pytest.mark.parametrize(("precision", "share"), [("fp32", 0.999), ("fp16", 0.995), ("int8", 0.97)])
def test_parity_with_transformers(checkpoint, bundle, precision, share, expected):
    found = graph_logits(Case(checkpoint, ("eng", "eng")), bundle, precision, "encoder")[0]
    assert (found.argmax(-1) == expected.argmax(-1)).mean() >= share
    if precision == "fp32":
        assert np.abs(found - expected).max() < 2e-3


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> np.ndarray:
    model = Wav2Vec2ForCTC.from_pretrained(
        checkpoint, target_lang="eng", ignore_mismatched_sizes=True
    ).eval()
    clip, _ = Case(checkpoint, ("eng", "eng")).clips()
    with torch.inference_mode():
        logits: np.ndarray = model(torch.from_numpy(clip)[None]).logits[0].numpy()
    return logits


@pytest.fixture(scope="module")
def aligner(folder: Path) -> Path:
    out = folder / "mms-300m-aligner-synthetic"
    if not (out / "config.json").exists():
        sizes = ("--layers", 24, "--hidden-size", 1024, "--languages", 1, "--variant", "aligner")
        watch(sys.executable, "-m", "mms_export.synthetic", "--out", out, *sizes)
    return out


def test_aligner_has_the_parity_of_transformers(folder, aligner):
    out = folder / "test-aligner"
    run = watch(*exporter(aligner, out, "fp32,fp16,int8", "all"))
    assert run.peak < 4e9
    manifest = open_bundle(out).manifest
    assert (list(manifest.data), manifest.model.text) == (["mul"], "uroman")
    case = Case(aligner, ("mul", "mul"), normalize=False)
    clip, _ = case.clips()
    model = Wav2Vec2ForCTC.from_pretrained(aligner).eval()
    with torch.inference_mode():
        wanted = model(torch.from_numpy(clip)[None]).logits[0].numpy()
    for precision, share in (("fp32", 0.999), ("fp16", 0.995), ("int8", 0.97)):
        found = graph_logits(case, out, precision, "encoder")[0]
        assert (found.argmax(-1) == wanted.argmax(-1)).mean() >= share
        if precision == "fp32":
            assert np.abs(found - wanted).max() < 2e-3
