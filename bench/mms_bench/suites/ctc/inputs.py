"""The posteriors that are decoded, as files that all workers read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mms_bench.ctc.posteriors import DENSITY, TOKENS, Shape, posteriors, random_labels
from mms_bench.ctc.sentences import spoken
from mms_bench.errors import NotHere
from mms_bench.options import Context
from mms_engine.types import Float32Array
from mms_export.parity import SPEECH

SHAPES: tuple[Shape, ...] = ("peaky", "diffuse")
VOCAB = len(TOKENS)
REAL_ROW = 250
"""Frames of a row of real posteriors."""


def saved(context: Context, name: str, make: Callable[[], Float32Array]) -> Path:
    """Return the file of an emission `float32[B, T, V]`, made if it is not there."""
    path = context.folder / f"{name}.npy"
    if not path.is_file():
        context.tell(f"making {name}")
        np.save(path, make())
    return path


def emission(context: Context, source: str, frames: int) -> Path:
    """Return the file of one of the shapes, or of `real` posteriors.

    Raises:
        NotHere: there is no bundle to make the real ones with.
    """
    shape = next((shape for shape in SHAPES if shape == source), None)
    return real(context, frames) if shape is None else made(context, shape, frames)


def made(context: Context, shape: Shape, frames: int, *, vocab: int = VOCAB, rows: int = 1) -> Path:
    """Return the file of made posteriors: speech of the made language, or of random labels."""

    def make() -> Float32Array:
        return np.stack([_row(shape, frames, vocab, seed) for seed in range(rows)])

    return saved(context, f"{shape}-{vocab}-{frames}-{rows}", make)


def _row(shape: Shape, frames: int, vocab: int, seed: int) -> Float32Array:
    wanted = round(frames * DENSITY)
    labels = (
        spoken(frames, seed=seed) if vocab == VOCAB else random_labels(wanted, vocab, seed=seed)
    )
    return posteriors(labels, frames, vocab, shape, seed=seed)


def real(context: Context, frames: int) -> Path:
    """Return the file of posteriors of recorded speech: so many frames, in rows of 5 s.

    Raises:
        NotHere: there is no bundle.
    """

    def make() -> Float32Array:
        found = _recognised(context)
        filled = found[np.arange(frames) % len(found)]
        return filled.reshape(-1, REAL_ROW, found.shape[1])

    return saved(context, f"real-{frames}", make)


def _recognised(context: Context) -> Float32Array:
    """Run the clips through the engine, and join what comes out: `[T, V]`."""
    from mms_engine.asr.options import RecognizerOptions
    from mms_engine.audio import normalize, read_audio
    from mms_engine.bundle import open_bundle
    from mms_engine.encoder.emission import Segment
    from mms_engine.encoder.loading import load_acoustic_model

    if not context.setup.bundle:
        raise NotHere("no bundle: export the demo with mms-export --model demo")
    options = RecognizerOptions(device="cpu", threads=context.options.threads)
    model = load_acoustic_model(open_bundle(Path(context.setup.bundle)), options)
    language = context.setup.languages[0]
    rows = []
    for file in _clips(context, language):
        samples = normalize(read_audio(file).samples)
        rows.append(model.logits([Segment(samples, language)])[0].astype(np.float64))
    logits = np.concatenate(rows)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    joined: Float32Array = log_probs.astype(np.float32)
    return joined


def _clips(context: Context, language: str) -> list[Path]:
    """Return the audio of the options and, where none was named, the demo's clips as well.

    Those in other languages follow: what the model makes of them is speech to a decoder too.
    """
    named = list(context.options.audio)
    if named != [SPEECH]:
        return named
    checkpoint = context.options.checkpoint.resolve()
    clips = [*checkpoint.parent.glob("clips/*.flac"), *checkpoint.glob("clips/*.flac")]
    clips.sort(key=lambda file: (not file.name.startswith(language), file.name))
    return [*named, *clips]
