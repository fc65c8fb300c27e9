"""What `mms-bench roofline` finds out, and the file it is kept in."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mms_bench.errors import BenchError
from mms_bench.roofline.hardware import Gpu
from mms_bench.roofline.memory import Footprint, footprint
from mms_bench.roofline.model import Limit, bound, whole
from mms_bench.roofline.processor import Measured
from mms_bench.roofline.streams import Pace, most_streams
from mms_bench.roofline.work import ELEMENTS, Block, Load, Stage, blocks
from mms_bench.schema import Machine
from mms_engine.audio import SAMPLE_RATE
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.types import Precision

SCHEMA_VERSION = 1
PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16", "fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the model."""

    seconds: float = 10.0
    """Of audio in each row of an offline run."""
    batches: tuple[int, ...] = (1, 8, 32)
    """Rows of the offline runs."""
    lengths: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 10.0, 30.0)
    """Seconds of audio in runs of a single row."""
    pace: Pace = field(default_factory=Pace)
    """Of live streams."""
    vocabs: tuple[int, ...] = (256, 4096)
    """Tokens a head has room for: of alphabets, and of the largest."""
    languages: tuple[int, ...] = (1, 16, 100, 400, 1162)
    memory_load: tuple[int, float] = (8, 30.0)
    """Rows and seconds of the run that memory is kept for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWork:
    """What a stage does for one second of audio, in a long run of one row."""

    stage: Stage
    flops: float
    """Of its products."""
    elements: float
    """Of the work between them."""
    edges: float
    """Bytes in and out of its blocks, in fp16."""
    weights: float
    """Bytes of its weights in fp16, read once a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The least time of a run on a GPU."""

    gpu: str
    precision: Precision
    rows: int
    seconds: float
    """Of audio in a row."""
    latency: float
    """Seconds of the run."""
    rtfx: float
    """Seconds of audio a second."""
    limit: Limit
    intensity: float
    """Floating-point operations of products for each byte moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The most live streams a GPU can keep up with."""

    gpu: str
    precision: Precision
    streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a run takes of memory with heads of one width."""

    precision: Precision
    vocab: int
    footprint: Footprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The whole of it. All but `measured` follows from the sizes and the GPUs' data sheets."""

    schema: int
    created: str
    """UTC, ISO 8601."""
    git: str
    command: str
    model: str
    question: Question
    stages: tuple[StageWork, ...]
    gpus: tuple[Gpu, ...]
    bounds: tuple[Bound, ...]
    streams: tuple[Streams, ...]
    memory: tuple[Memory, ...]
    machine: Machine | None = None
    """Where `measured` was."""
    measured: tuple[Measured, ...] = ()


def stage_work(architecture: Wav2Vec2Ctc, question: Question) -> tuple[StageWork, ...]:
    """Return the work of each stage."""
    frames = FrameGeometry.of(architecture).frames(round(question.seconds * SAMPLE_RATE))
    found: dict[Stage, list[Block]] = {}
    for block in blocks(architecture, Load(rows=1, frames=frames, vocab=question.vocabs[0])):
        found.setdefault(block.stage, []).append(block)
    return tuple(_stage(stage, group, question.seconds) for stage, group in found.items())


def _stage(stage: Stage, group: list[Block], seconds: float) -> StageWork:
    return StageWork(
        stage=stage,
        flops=sum(block.total("product") for block in group) / seconds,
        elements=sum(block.total(*ELEMENTS) for block in group) / seconds,
        edges=sum(sum(block.edges) * block.repeats for block in group) / seconds,
        weights=sum(block.weights * block.repeats for block in group),
    )


def bounds(
    architecture: Wav2Vec2Ctc, devices: tuple[Gpu, ...], question: Question
) -> tuple[Bound, ...]:
    """Return the least times of offline runs, and of single rows of other lengths."""
    runs = [(rows, question.seconds) for rows in question.batches]
    runs += [(1, length) for length in question.lengths]
    return tuple(
        _bound(architecture, gpu, precision, rows, length)
        for gpu in devices
        for precision in PRECISIONS
        if precision in gpu.hardware().products
        for rows, length in dict.fromkeys(runs)
    )


def _bound(
    architecture: Wav2Vec2Ctc, gpu: Gpu, precision: Precision, rows: int, length: float
) -> Bound:
    frames = FrameGeometry.of(architecture).frames(round(length * SAMPLE_RATE))
    load = Load(rows=rows, frames=frames, languages=rows, precision=precision)
    work = blocks(architecture, load)
    cost = whole(bound(work, load, gpu.hardware()))
    moved = sum((block.weights + sum(block.edges)) * block.repeats for block in work)
    return Bound(
        gpu=gpu.key,
        precision=precision,
        rows=rows,
        seconds=length,
        latency=cost.seconds,
        rtfx=rows * length / cost.seconds,
        limit=cost.limit,
        intensity=sum(block.total("product") for block in work) / moved,
    )


def live_streams(
    architecture: Wav2Vec2Ctc, devices: tuple[Gpu, ...], question: Question
) -> tuple[Streams, ...]:
    """Return how many streams each GPU can keep up with."""
    return tuple(
        Streams(
            gpu=gpu.key,
            precision=precision,
            streams=most_streams(architecture, hardware, question.pace, precision),
        )
        for gpu in devices
        for hardware in [gpu.hardware()]
        for precision in PRECISIONS
        if precision in hardware.products
    )


def memory(architecture: Wav2Vec2Ctc, question: Question) -> tuple[Memory, ...]:
    """Return what is kept in memory."""
    rows, seconds = question.memory_load
    frames = FrameGeometry.of(architecture).frames(round(seconds * SAMPLE_RATE))
    return tuple(
        Memory(
            precision=precision,
            vocab=vocab,
            footprint=footprint(
                architecture, Load(rows=rows, frames=frames, vocab=vocab, precision=precision)
            ),
        )
        for precision in ("fp16", "fp32")
        for vocab in question.vocabs
    )


def save(roofline: Roofline, path: Path) -> None:
    """Write it as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(roofline), indent=1) + b"\n")


def load(path: Path) -> Roofline:
    """Read a file that `save` wrote.

    Raises:
        BenchError: it is not one, or of another schema.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Roofline)
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BenchError(f"{path} is no result of mms-bench roofline: {error}") from error
    if found.schema != SCHEMA_VERSION:
        raise BenchError(
            f"{path} has schema {found.schema}, this release reads {SCHEMA_VERSION}: make it again"
        )
    return found
