"""The demo with plans of `torch_runtime`, speech, and what the engine makes of it on a CPU.

PYTHONPATH=tests python -m torch_runtime.model FOLDER
"""

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from engine_demo import demo_clips
from gpu_sim.bundles import write_plan
from mms_engine import Recognizer
from mms_engine.audio import read_audio
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import MANIFEST, Graph, Manifest, Plan, encode
from mms_engine.tensorrt.choose import planned_graphs
from mms_export.cli import main as export
from mms_export.graphs.contract import GraphKey
from mms_export.tensorrt.options import USES
from torch_runtime.check import Speech, recognised, streamed
from torch_runtime.conversion import convert

_ANY = ("7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1")
_CLIPS = 6


def write_model(folder: Path) -> Path:
    """Write the bundle, the speech and the expected text into a new folder; return it."""
    with tempfile.TemporaryDirectory(prefix="mms-torch-") as scratch:
        bundle = Path(scratch) / "bundle"
        given = ["--model", "demo", "--out", str(bundle), "--precision", "fp16", "--quiet"]
        export([*given, "--jobs", "1"], standalone_mode=False)
        shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns("*.onnx", "*.onnx.data"))
        _write_plans(bundle, folder)
        _write_speech(bundle, folder)
    return folder


def _write_plans(bundle: Path, folder: Path) -> None:
    manifest = open_bundle(bundle).manifest
    (folder / "plans").mkdir()
    made = [
        _write_plan(bundle, folder, manifest, graph)
        for graph in manifest.graphs
        if graph.name in planned_graphs(manifest.model)
    ]
    manifest = dataclasses.replace(manifest, plans=tuple(made))
    (folder / MANIFEST).write_bytes(encode(manifest))


def _write_plan(bundle: Path, folder: Path, manifest: Manifest, graph: Graph) -> Plan:
    target = folder / "plans" / f"{GraphKey.of(graph).label}.json"
    source = convert(bundle / graph.files[0].path, target)
    uses = tuple(USES.values())
    plan = write_plan(folder, manifest, graph, 64, uses, source=source, capabilities=_ANY)
    return dataclasses.replace(plan, runtime="tensorrt-rtx")


def _write_speech(bundle: Path, folder: Path) -> None:
    clips = demo_clips()[:: len(demo_clips()) // _CLIPS][:_CLIPS]
    speech = [Speech(clip.language, read_audio(clip.path).samples) for clip in clips]
    np.savez(folder / "speech.npz", *(one.samples for one in speech))
    with Recognizer.open(bundle, device="cpu", precision="fp16") as recognizer:
        expected = {
            "languages": [one.language for one in speech],
            "recognised": recognised(recognizer, speech),
            "streamed": streamed(recognizer, speech),
        }
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")


if __name__ == "__main__":
    write_model(Path(sys.argv[1]))
