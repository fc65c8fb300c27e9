"""Device memory of a model on plans, by its parts: for the bank's reserve, and as a budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from mms_engine.backends.session import storage_dtype
from mms_engine.bank.adapters import LanguageBytes, head_sizes
from mms_engine.bank.heads import PAGE_TOKENS, page_count
from mms_engine.bundle.kv_cache import CacheTensors
from mms_engine.bundle.manifest import Manifest, Plan, Tensor, Wav2Vec2Ctc, find_tensor
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.errors import BackendError
from mms_engine.tensorrt.choose import planned_graphs

CONTEXT_BYTES = 500_000_000
"""Assumed memory of CUDA's context, TensorRT and the kernels, which only a device tells."""
BEAM_CHOICES = 512
"""Most tokens of a frame that a beam search with a language model looks at, 8 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Work for which memory is budgeted."""

    rows: int
    """Rows of a run."""
    seconds: float
    """Duration of a row."""
    languages: int
    """Resident languages."""
    vocab: int
    """Tokens of the largest vocabulary; the other languages have the mean size of the bundle's."""
    streams: int = 0
    stream_frames: int = 282
    """Frames in the KV cache of a stream: left context and chunk, 250 + 32 for `balanced`."""


def budget(manifest: Manifest, plans: Mapping[str, Plan], load: Load) -> dict[str, int]:
    """Return the bytes of each part.

    Args:
        manifest: That of the bundle.
        plans: Plans by graph, of one runtime and precision.
        load: The work.

    Raises:
        BackendError: a plan is missing, or does not cover the load, or was built without figures.
    """
    model = manifest.model
    if not isinstance(model, Wav2Vec2Ctc):
        raise BackendError("budgets are those of speech recognition")
    names = planned_graphs(model)
    missing = [name for name in names if name not in plans]
    if missing:
        raise BackendError(f"the bundle has no plan of the graph {' and '.join(missing)}")
    used = {name: plans[name] for name in names}
    frontend, encoder = used.values()
    geometry = FrameGeometry.of(model)
    frames = round(load.seconds * manifest.sample_rate / geometry.stride)
    frames += model.num_conv_pos_embeddings // 2  # ahead of the audio
    dtype = find_tensor(encoder.inputs, "head_bias").dtype
    sizes = head_sizes(manifest)
    others = sizes[1:] or sizes
    narrower = max(0, load.languages - 1)
    pages = page_count(load.vocab) + -(-narrower * sum(others) // len(others))
    tensors = CacheTensors.of(encoder.inputs)
    most = max(profile.shapes[tensors.names[0]].max[0] for profile in encoder.profiles)
    step_rows = min(load.streams, most)
    parts = {
        "weights": sum(plan.file.size for plan in used.values()),
        "scratch memory of runs": _scratch(frontend, encoder, load.rows, frames, step_rows),
        "inputs, features, logits": run_bytes(
            frontend, encoder, load.rows, frames, vocab=load.vocab, geometry=geometry
        ),
        f"{load.languages} languages": LanguageBytes.of(model, dtype).total(load.languages, pages),
    }
    if load.streams:
        values = prod(tensors.outer) * tensors.size * load.stream_frames
        cache = values * storage_dtype(tensors.dtype).itemsize
        parts[f"KV caches of {load.streams} streams"] = load.streams * cache
        parts["copies of KV caches in a run"] = step_rows * cache
    return parts | {"context, TensorRT, kernels (assumed)": CONTEXT_BYTES}


def run_bytes(
    frontend: Plan, encoder: Plan, rows: int, frames: int, *, vocab: int, geometry: FrameGeometry
) -> int:
    """Return the bytes of the inputs, features and outputs of a run.

    Args:
        frontend: Plan of the frontend.
        encoder: Plan of the graph behind it.
        rows: B.
        frames: Frames of a row, with those ahead of the audio.
        vocab: Tokens of the largest vocabulary.
        geometry: That of the frontend.
    """
    samples = frontend.profiles[0].shapes["audio"].max[1]
    slices = rows * -(-frames // geometry.frames(samples))
    features, output = frontend.outputs[0], encoder.outputs[0]
    free = {"batch": rows, "frames": frames, "vocab": page_count(vocab) * PAGE_TOKENS}
    scores = prod(free[size] if isinstance(size, str) else size for size in output.shape)
    return slices * samples * 4 + rows * frames * _frame_bytes(features) + scores * 4


def largest_run(encoder: Plan) -> tuple[int, int]:
    """Return rows and frames of the run with the most frames that a plan covers."""
    shapes = [profile.shapes["features"].max for profile in encoder.profiles]
    rows, frames, *_ = max(shapes, key=lambda shape: shape[0] * shape[1])
    return rows, frames


def _scratch(frontend: Plan, encoder: Plan, rows: int, frames: int, step_rows: int) -> int:
    """Return the scratch memory that all runs share: that of the largest.

    The figure of streaming steps is that of the largest that the plan allows.
    """
    for plan in (frontend, encoder):
        if len(plan.scratch) != len(plan.profiles):
            raise BackendError(f"{plan.file.path} was built without figures: build it again")
    first = CacheTensors.of(encoder.inputs).names[0]
    profiles = list(zip(encoder.scratch, encoder.profiles, strict=True))
    covering = [
        size
        for size, profile in profiles
        if rows <= profile.shapes["features"].max[0] and frames <= profile.shapes["features"].max[1]
    ]
    if not covering:
        raise BackendError(f"{encoder.file.path} covers no run of {rows} x {frames} frames")
    steps = [
        size
        for size, profile in profiles
        if 0 < step_rows <= (cache := profile.shapes[first].max)[0] and cache[-2] > 1
    ]
    return max(*frontend.scratch, min(covering), min(steps, default=0))


def _frame_bytes(tensor: Tensor) -> int:
    """Return the bytes of one frame of one row of features."""
    fixed = prod(size for size in tensor.shape if isinstance(size, int))
    return fixed * storage_dtype(tensor.dtype).itemsize
