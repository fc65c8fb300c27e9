"""Check of the whole engine on a GPU without TensorRT, whose place `torch_runtime` takes.

    PYTHONPATH=tests python -m torch_runtime.check FOLDER

FOLDER is one of `torch_runtime.model`. Recordings and live streams in five languages, and beam
search, must come out as on a CPU, but for what the rounding of halves changes.
"""

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cudasim import trt
from mms_engine import BeamSearch, PoolOptions, Recognizer
from mms_engine.types import Float32Array
from torch_runtime import execution

_PIECE = 8_000
_ALIKE = 0.98
_TURNS = 3
"""Repetitions, so that memory is used again."""


@dataclass(frozen=True)
class Speech:
    """A clip and its language."""

    language: str
    samples: Float32Array


def recognised(recognizer: Recognizer, speech: Sequence[Speech]) -> list[str]:
    """Return the texts of clips in one call."""
    clips, languages = [one.samples for one in speech], [one.language for one in speech]
    return [found.text for found in recognizer.transcribe(clips, languages)]


def streamed(recognizer: Recognizer, speech: Sequence[Speech]) -> list[str]:
    """Return the texts of clips that are streamed at the same time."""
    texts = []
    with recognizer.pool(PoolOptions(admission=False)) as pool:
        streams = [pool.open(one.language) for one in speech]
        for start in range(0, max(len(one.samples) for one in speech), _PIECE):
            for stream, one in zip(streams, speech, strict=True):
                if len(piece := one.samples[start : start + _PIECE]):
                    stream.feed(piece)
        for stream in streams:
            stream.finish()
            events = list(stream.events(timeout=120))
            texts.append(" ".join(one.transcript.text for one in events if one.type == "final"))
    return texts


def check(folder: Path) -> dict[str, float]:
    """Return how alike the texts are to those of a CPU, from 0 to 1.

    Raises:
        AssertionError: they are not.
    """
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    with np.load(folder / "speech.npz") as arrays:
        clips = [arrays[name] for name in arrays]
    speech = [Speech(*one) for one in zip(expected["languages"], clips, strict=True)]
    trt.install("tensorrt_rtx", executing=execution)
    alike: dict[str, float] = {}
    with Recognizer.open(folder, device="cuda", backend="tensorrt-rtx") as recognizer:
        for _ in range(_TURNS):
            for name, transcribe in (("recognised", recognised), ("streamed", streamed)):
                found = transcribe(recognizer, speech)
                alike[name] = _ratio(found, expected[name])
    with Recognizer.open(
        folder, device="cuda", backend="tensorrt-rtx", beam=BeamSearch(beam_size=16)
    ) as recognizer:
        alike["beam"] = _ratio(recognised(recognizer, speech), expected["recognised"])
    assert min(alike["recognised"], alike["streamed"]) >= _ALIKE, alike
    assert alike["beam"] >= 0.9, alike  # it may find better texts
    return alike


def _ratio(found: Sequence[str], expected: Sequence[str]) -> float:
    return difflib.SequenceMatcher(None, "\n".join(found), "\n".join(expected)).ratio()


if __name__ == "__main__":
    print(json.dumps(check(Path(sys.argv[1]))))  # noqa: T201
