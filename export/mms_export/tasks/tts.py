"""Speech synthesis: VITS, whose graphs hold no weights and whose voices are data."""

import functools
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from mms_engine.bundle.files import describe
from mms_engine.bundle.manifest import DataFile, Vits
from mms_engine.bundle.voices import save_voice
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import DamagedAdapter, VoiceFile
from mms_export.checkpoints.voices import read_voice_tensors, with_fingerprint
from mms_export.graphs.builder import Array, numpy_dtype
from mms_export.graphs.vits.calibration import quantize_voice
from mms_export.graphs.vits.decoder import build_decoder
from mms_export.graphs.vits.flow import build_flow
from mms_export.graphs.vits.text import build_text
from mms_export.graphs.vits.voice import EMBEDDING, fold_voice, quantized_inputs, voice_shapes
from mms_export.parity.speech import SpeechCase, compare_speech, graph_speech
from mms_export.tasks.task import DataJob, DataSpec, GraphSpec, Task


def voice_path(folder: Path, language: str) -> Path:
    """Return the path of a voice in a bundle."""
    return folder / "voices" / f"{language}.safetensors"


def quantized_path(folder: Path, language: str) -> Path:
    """Return the path of a voice's quantised weights in a bundle."""
    return folder / "voices" / f"{language}.int8.safetensors"


def write_voice(job: DataJob, file: VoiceFile) -> DataFile:
    """Write the data files of one voice and return their manifest entry.

    Raises:
        DamagedAdapter: a tensor is missing or not finite.
        MmsError: a value does not fit the dtype.
    """
    tensors: dict[str, Array] = {}
    try:
        for name, tensor in fold_voice(file.config, read_voice_tensors(file), file.rows):
            if not np.isfinite(tensor).all():
                raise MmsError(f"damaged: its {name} has values not finite")
            with np.errstate(over="ignore"):  # overflow is detected below
                tensors[name] = tensor.astype(job.dtype)
    except MmsError as error:
        raise DamagedAdapter(f"{file.voice.source}: {error}") from error
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise MmsError(
            f"{file.voice.source} has values that are not finite in {job.dtype}: "
            "it needs --adapter-dtype float32"
        )
    voice, path = with_fingerprint(file), voice_path(job.folder, file.language)
    save_voice(path, tensors, voice)
    model = "" if file.config == job.config else voice.fingerprint
    entry = DataFile(file=describe(job.folder, path), vocab_size=file.rows, model=model)
    if "int8" not in job.precisions:
        return entry
    path = quantized_path(job.folder, file.language)
    save_voice(path, quantize_voice(file.config, tensors, file.rows), voice)
    return replace(entry, int8=describe(job.folder, path))


def voice_size(job: DataJob, file: VoiceFile) -> int:
    """Return the bytes of a voice."""
    embedding = file.rows * file.config.hidden_size
    quantized = _quantized_bytes(file.config) if "int8" in job.precisions else 0
    return (_elements(file.config) + embedding) * job.itemsize + quantized


@functools.cache
def _elements(config: Vits) -> int:
    """Return the number of elements of a voice without its embedding."""
    shapes = voice_shapes(config, vocab_size=1)
    return sum(int(np.prod(shape)) for name, shape in shapes.items() if name != EMBEDDING)


@functools.cache
def _quantized_bytes(config: Vits) -> int:
    """Return the bytes of a voice's quantised weights."""
    return sum(
        prod(map(int, tensor.shape)) * numpy_dtype(tensor.dtype).itemsize
        for tensor in quantized_inputs(config)
    )


def is_complete(job: DataJob, entry: DataFile) -> bool:
    """Whether a voice has the weights of every precision."""
    return "int8" not in job.precisions or entry.int8 is not None


TTS = Task(
    graphs=(
        GraphSpec(name="text", build=build_text, has_parity=True),
        GraphSpec(name="flow", build=build_flow, has_parity=True),
        GraphSpec(name="decoder", build=build_decoder, has_parity=True),
    ),
    # Quantised weights would add a fifth to the size of every voice.
    precisions=("fp32", "fp16"),
    model=lambda checkpoint: checkpoint.config,
    data=DataSpec(
        noun="voices",
        paths=lambda folder, language: (
            voice_path(folder, language),
            quantized_path(folder, language),
        ),
        write=write_voice,
        size=voice_size,
        is_complete=is_complete,
    ),
    sample="random text",
    case=lambda checkpoint, languages: SpeechCase(
        checkpoint.voices[languages[0]], checkpoint.model_of(languages[0])
    ),
    reference=lambda case: case.expected,
    outputs=graph_speech,
    compare=compare_speech,
)
