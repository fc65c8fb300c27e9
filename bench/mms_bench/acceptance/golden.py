"""Golden output of a checkpoint: the tokens, the text and the last logits of one recording."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mms_bench.errors import BenchError
from mms_engine.asr.recognizer import Recognizer
from mms_engine.audio import normalize, read_audio
from mms_engine.backends.options import RunOptions
from mms_engine.bundle import open_bundle
from mms_engine.encoder.emission import Segment
from mms_engine.encoder.loading import load_acoustic_model
from mms_export.checkpoints.documents import read_json

MIN_AGREEMENT = 0.995
"""Share of frames with the golden most likely token: a frame between two tokens may turn."""
MAX_LOGIT_ERROR = 0.02
"""Largest difference of the ten largest logits of the last frame, in float32."""
NAME = "mms-1b-all_eng"


@dataclass(frozen=True, slots=True)
class Golden:
    """Output that is known to be right."""

    audio: Path
    text: str
    tokens: tuple[int, ...]
    """Most likely token of each frame."""
    last_tokens: tuple[int, ...]
    """Ten most likely tokens of the last frame."""
    last_logits: tuple[float, ...]


def read_golden(folder: Path) -> Golden:
    """Read `mms-1b-all_eng_generation.json`, `…_lastframe.json` and the FLAC file beside them.

    Raises:
        MmsError: a file is missing or cannot be read.
    """
    audio = sorted(folder.glob("*.flac"))
    if len(audio) != 1:
        raise BenchError(f"{folder} holds no golden output: it needs one FLAC file")
    try:
        whole = read_json(folder / f"{NAME}_generation.json")
        last = read_json(folder / f"{NAME}_lastframe.json")
        return Golden(
            audio=audio[0],
            text=whole["generated_text"],
            tokens=tuple(whole["generated_tokens"]),
            last_tokens=tuple(last["top10_ids"]),
            last_logits=tuple(float.fromhex(value) for value in last["top10_logits"]),
        )
    except KeyError as error:
        raise BenchError(f"the golden output in {folder} lacks {error}") from error


def compare_golden(bundle: Path, golden: Golden, language: str = "eng") -> list[str]:
    """Return what differs between a bundle's fp32 output and the golden one; empty for nothing.

    Raises:
        MmsError: the bundle cannot be opened, or the audio cannot be read.
    """
    options = RunOptions(device="cpu", precision="fp32")
    model = load_acoustic_model(open_bundle(bundle), options)
    try:
        segment = Segment(normalize(read_audio(golden.audio).samples), language)
        (logits,) = model.logits([segment])
    finally:
        model.close()
    with Recognizer.open(bundle, device="cpu", precision="fp32") as recognizer:
        text = recognizer.transcribe(golden.audio, language).text
    found = []
    if text != golden.text:
        found.append(f"the text is {text!r}, not {golden.text!r}")
    if len(logits) != len(golden.tokens):
        return [*found, f"there are {len(logits)} frames, not {len(golden.tokens)}"]
    agreement = float(np.mean(logits.argmax(axis=1) == np.array(golden.tokens)))
    if agreement < MIN_AGREEMENT:
        found.append(f"{agreement:.2%} of the frames have the golden token")
    errors = np.abs(logits[-1, list(golden.last_tokens)] - np.array(golden.last_logits))
    if errors.max() > MAX_LOGIT_ERROR:
        found.append(f"a logit of the last frame differs by {errors.max():.2g}")
    return found
