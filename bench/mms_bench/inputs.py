"""The speech that is measured on, and the languages it is measured in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from mms_bench.errors import BenchError
from mms_bench.schema import Model
from mms_engine.audio import SAMPLE_RATE, normalize, read_audio
from mms_engine.types import Float32Array

# Tensors of facebook/mms-1b-all: the layers' widths and their number make the full size.
FULL_SIZE_PARAMETERS = 950_000_000


def clips(files: Sequence[Path], seconds: float, count: int) -> Float32Array:
    """Return `count` different clips of `seconds` each: `float32[count, samples]`.

    The sounds are joined end to end, repeated as needed, and cut at `count` places spread evenly.
    Each clip has zero mean and unit variance, as every peer's preprocessor would make it.

    Raises:
        AudioError: a file cannot be read.
    """
    length = round(seconds * SAMPLE_RATE)
    sound = np.concatenate([read_audio(file).samples for file in files])
    starts = np.arange(count) * sound.size // count
    rows = (np.resize(np.roll(sound, -start), length) for start in starts)
    return np.stack([normalize(row) for row in rows])


def checkpoint_languages(checkpoint: Path) -> tuple[str, ...]:
    """Return the codes a checkpoint has an adapter file for, sorted.

    Raises:
        BenchError: it has none.
    """
    files = checkpoint.glob("adapter.*.safetensors")
    codes = sorted(file.name.split(".", 1)[1].removesuffix(".safetensors") for file in files)
    if not codes:
        raise BenchError(
            f"{checkpoint} holds no adapter.LANG.safetensors: "
            "name a folder in the layout of facebook/mms-1b-all with --checkpoint"
        )
    return tuple(codes)


def describe_model(checkpoint: Path, name: str) -> Model:
    """Return the size of a checkpoint, from the headers of its files only.

    Raises:
        BenchError: it has no `model.safetensors`.
    """
    files = sorted(checkpoint.glob("model*.safetensors"))
    if not files:
        raise BenchError(f"{checkpoint} holds no model.safetensors: check --checkpoint")
    parameters = 0
    for file in files:
        with safe_open(str(file), framework="numpy") as reader:
            shapes = (reader.get_slice(name).get_shape() for name in reader.keys())  # noqa: SIM118
            parameters += sum(int(np.prod(shape)) for shape in shapes)
    return Model(
        name=name,
        parameters=parameters,
        languages=len(checkpoint_languages(checkpoint)),
        full_size=parameters >= FULL_SIZE_PARAMETERS,
    )
