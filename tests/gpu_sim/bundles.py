"""Bundles with plans of the stand-in for TensorRT, as `mms-export --engine tensorrt` adds them."""

import dataclasses
import hashlib
from math import prod
from pathlib import Path

import numpy as np

from cudasim import plan as plans
from cudasim import trt
from mms_engine.bank.adapters import head_sizes
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import (
    MANIFEST,
    File,
    Graph,
    Manifest,
    Plan,
    Profile,
    Vits,
    Wav2Vec2,
    encode,
)
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.tensorrt.choose import planned_graphs
from mms_export.cli import main as mms_export
from mms_export.graphs.contract import GraphKey
from mms_export.tensorrt.options import USES, Use
from mms_export.tensorrt.profiles import Extents, SpeechExtents, make_profiles

CAPABILITY = "8.6"


def export(model: str, out: Path, *options: str) -> Path:
    """Export a checkpoint in fp32 and fp16."""
    arguments = ["--model", model, "--out", str(out), "--precision", "fp32,fp16", "--quiet"]
    mms_export.main([*arguments, "--jobs", "1", *options], standalone_mode=False)
    return out


def add_plans(
    folder: Path,
    *,
    slots: int = 64,
    uses: tuple[Use, ...] = tuple(USES.values()),
    others: tuple[str, ...] = (),
    joined: bool = False,
    **changes: object,
) -> Path:
    """Write the plans of a task in fp16, with `changes` to their entries; return the folder.

    Those of `others` are written too, graphs that the engine runs on ONNX Runtime only. Profiles
    are those of TensorRT, or `joined` as those of TensorRT for RTX.
    """
    manifest = open_bundle(folder).manifest
    made = [
        dataclasses.replace(
            write_plan(folder, manifest, graph, slots, uses, joined=joined), **changes
        )
        for graph in manifest.graphs
        if graph.precision == "fp16" and graph.name in (*planned_graphs(manifest.model), *others)
    ]
    manifest = dataclasses.replace(manifest, plans=tuple(made))
    (folder / MANIFEST).write_bytes(encode(manifest))
    return folder


def write_plan(
    folder: Path,
    manifest: Manifest,
    graph: Graph,
    slots: int,
    uses: tuple[Use, ...],
    *,
    source: Path | None = None,
    capabilities: tuple[str, ...] = (CAPABILITY,),
    joined: bool = False,
) -> Plan:
    """Write one plan with the profiles of an export, and return its entry.

    It runs the graph's file, or `source`.
    """
    sizes = extents(manifest, slots, graph.model)
    profiles = make_profiles(graph.inputs, uses, sizes, joined=joined)
    plan = simulated(source or folder / graph.files[0].path, profiles)
    numbers = [int(one.replace(".", "")) for one in capabilities]
    content = plans.to_bytes(dataclasses.replace(plan, capabilities=numbers))
    path = f"plans/{GraphKey.of(graph).label}.tensorrt-{trt.__version__}.sm86.plan"
    (folder / "plans").mkdir(exist_ok=True)
    (folder / path).write_bytes(content)
    return Plan(
        graph=graph.name,
        precision="fp16",
        file=File(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content)),
        runtime="tensorrt",
        runtime_version=trt.__version__,
        compute_capabilities=capabilities,
        graph_sha256=graph.files[0].sha256,
        inputs=graph.inputs,
        outputs=graph.outputs,
        profiles=profiles,
        model=graph.model,
    )


def extents(manifest: Manifest, slots: int, key: str) -> Extents | SpeechExtents:
    """Return the sizes of a bundle's inputs that do not depend on the use."""
    model = manifest.models[key] if key else manifest.model
    if isinstance(model, Vits):
        vocab = max(entry.vocab_size for entry in manifest.data.values())
        return SpeechExtents(
            frames_per_second=manifest.sample_rate / prod(model.upsample_rates),
            steps_per_frame=model.upsample_rates[0],
            vocab=(1, vocab, vocab),
        )
    widest, *_ = head_sizes(manifest)
    assert isinstance(model, Wav2Vec2)
    return Extents(
        geometry=FrameGeometry.of(model),
        sample_rate=manifest.sample_rate,
        history=model.num_conv_pos_embeddings // 2,
        slots=(1, 1, slots),
        pages=(1, 1, widest),
        bank_pages=(1, 1, 1024),
    )


def simulated(graph: Path, profiles: tuple[Profile, ...], **options: object) -> plans.SimulatedPlan:
    """Return the content of a plan's file."""
    shapes = [
        {name: (one.min, one.opt, one.max) for name, one in profile.shapes.items()}
        for profile in profiles
    ]
    inputs = {name for profile in profiles for name in profile.shapes}
    return plans.SimulatedPlan(
        graph=str(graph),
        resizes=True,
        profiles=shapes,
        version=trt.__version__,
        capabilities=[86],
        # Other rows of the bank may be written during a run.
        gathered=tuple(inputs & {"adapters", "head_weight", "head_bias"}),
        **options,
    )


PARAMETERS = 584
"""Parameters of a language of the tiny model."""


def encoder_feeds(rows: int = 2, frames: int = 60, slots: int = 3) -> dict[str, np.ndarray]:
    """Return inputs of the tiny encoder, which differ with the number of frames."""
    random = np.random.default_rng(frames)
    return {
        "features": random.normal(size=(rows, frames, 16)).astype(np.float32),
        "lengths": np.full(rows, frames, np.int64),
        "slot": np.arange(rows) % slots,
        "pages": np.arange(rows)[:, np.newaxis] % slots,
        "adapters": random.normal(size=(slots, PARAMETERS), scale=0.1).astype(np.float16),
        "head_weight": random.normal(size=(slots, 64, 32)).astype(np.float16),
        "head_bias": random.normal(size=(slots, 64)).astype(np.float16),
    }
