"""Speech synthesis: VITS, whose graphs hold no weights and whose voices are data."""

import functools
from pathlib import Path

import numpy as np

from mms_engine.bundle.files import describe
from mms_engine.bundle.manifest import DataFile, Vits
from mms_engine.bundle.voices import save_voice
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import DamagedAdapter, VoiceFile
from mms_export.checkpoints.voices import read_voice_tensors, with_fingerprint
from mms_export.graphs.vits.decoder import build_decoder
from mms_export.graphs.vits.flow import build_flow
from mms_export.graphs.vits.text import build_text
from mms_export.graphs.vits.voice import EMBEDDING, fold_voice, voice_shapes
from mms_export.parity.speech import SpeechCase, compare_speech, graph_speech, reference_speech
from mms_export.tasks.task import DataJob, DataSpec, GraphSpec, Task


def voice_path(folder: Path, language: str) -> Path:
    """Return the path of a voice in a bundle."""
    return folder / "voices" / f"{language}.safetensors"


def write_voice(job: DataJob, file: VoiceFile) -> DataFile:
    """Write the data file of one voice and return its manifest entry.

    Raises:
        DamagedAdapter: a tensor is missing or not finite.
        MmsError: a value does not fit the dtype.
    """
    try:
        tensors = dict(fold_voice(file.config, read_voice_tensors(file), file.rows))
    except MmsError as error:
        raise DamagedAdapter(f"{file.voice.source}: {error}") from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise DamagedAdapter(
                f"{file.voice.source} is damaged: its {name} has values not finite"
            )
        with np.errstate(over="ignore"):  # overflow is detected here
            tensors[name] = tensor.astype(job.dtype)
        if not np.isfinite(tensors[name]).all():
            raise MmsError(
                f"{file.voice.source} has values that are not finite in {job.dtype}: "
                "it needs --adapter-dtype float32"
            )
    path = voice_path(job.folder, file.language)
    save_voice(path, tensors, with_fingerprint(file, job.fingerprint))
    return DataFile(file=describe(job.folder, path), vocab_size=file.rows)


def voice_size(job: DataJob, file: VoiceFile) -> int:
    """Return the bytes of a voice."""
    embedding = file.rows * file.config.hidden_size
    return (_elements(file.config) + embedding) * job.itemsize


@functools.cache
def _elements(config: Vits) -> int:
    """Return the number of elements of a voice without its embedding."""
    shapes = voice_shapes(config, vocab_size=1)
    return sum(int(np.prod(shape)) for name, shape in shapes.items() if name != EMBEDDING)


TTS = Task(
    graphs=(
        GraphSpec(name="text", build=build_text, has_parity=True),
        GraphSpec(name="flow", build=build_flow, has_parity=True),
        GraphSpec(name="decoder", build=build_decoder, has_parity=True),
    ),
    model=lambda checkpoint: checkpoint.config,
    data=DataSpec(
        noun="voices",
        paths=lambda folder, language: (voice_path(folder, language),),
        write=write_voice,
        size=voice_size,
    ),
    sample="random text",
    case=lambda checkpoint, languages: SpeechCase(checkpoint.voices[languages[0]]),
    reference=reference_speech,
    outputs=graph_speech,
    compare=compare_speech,
)
