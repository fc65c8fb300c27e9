"""Transcripts in the response formats of the API."""

import itertools
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mms_engine.formats import render
from mms_engine.formats.cues import Cue, cues
from mms_engine.formats.timed_text import from_transcript
from mms_engine.lid.activity import FrameLevels
from mms_engine.types import Audio, Transcript, Word

MEDIA_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "ctm": "text/plain; charset=utf-8",
    "textgrid": "text/plain; charset=utf-8",
}
"""Formats that are text, and their types."""
FRAME_SECONDS = 0.02
_LEAST = 1e-6
"""Confidence whose logarithm stands for that of 0."""


def usage(transcript: Transcript) -> dict[str, Any]:
    """Return what a request has used."""
    return {"type": "duration", "seconds": round(transcript.duration, 3)}


def plain(transcript: Transcript, *, detected: str | None, logprobs: bool) -> dict[str, Any]:
    """Return the format `json`.

    Args:
        transcript: The transcript.
        detected: Code of the language, if it was identified and not given.
        logprobs: Whether to include those of the words.
    """
    body: dict[str, Any] = {"text": transcript.text}
    if detected is not None:
        body["languages"] = [{"code": detected}]
    if logprobs:
        body["logprobs"] = word_logprobs(transcript)
    body["usage"] = usage(transcript)
    return _with_warnings(body, transcript)


def verbose(
    transcript: Transcript, audio: Audio, granularities: Sequence[str], *, logprobs: bool
) -> dict[str, Any]:
    """Return the format `verbose_json`.

    Args:
        transcript: The transcript.
        audio: Its audio, for the share of silence.
        granularities: `segment`, `word` or both.
        logprobs: Whether to include those of the words.
    """
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language,
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
    }
    if "segment" in granularities:
        body["segments"] = segments(transcript, audio)
    if "word" in granularities:
        body["words"] = [
            {"word": word.text, "start": word.start, "end": word.end, "score": word.confidence}
            for word in transcript.words
        ]
    if logprobs:
        body["logprobs"] = word_logprobs(transcript)
    body["usage"] = usage(transcript)
    return _with_warnings(body, transcript)


def _with_warnings(body: dict[str, Any], transcript: Transcript) -> dict[str, Any]:
    return {**body, "warnings": list(transcript.warnings)} if transcript.warnings else body


def segments(transcript: Transcript, audio: Audio) -> list[dict[str, Any]]:
    """Return the segments: the cues of the subtitles, with figures that this model has.

    `avg_logprob` is the mean of the words' log-probabilities by their time, `no_speech_prob` the
    share of frames without speech by their level; `tokens` is empty, as CTC letters are not tokens
    of a text model.
    """
    found = cues(from_transcript(transcript, "audio"))
    levels = FrameLevels(round(FRAME_SECONDS * audio.sample_rate), audio.sample_rate)
    for _ in levels.measured([audio.samples]):
        pass
    speech = levels.speech()
    words = iter(transcript.words)
    rows, waiting = [], next(words, None)
    for number, cue in enumerate(found):
        own: list[Word] = []
        while waiting is not None and (waiting.start < cue.end or not own):
            own.append(waiting)
            waiting = next(words, None)
        frames = speech[_frame(cue.start) : max(_frame(cue.end), _frame(cue.start) + 1)]
        rows.append(
            _segment(number, cue, own, 1.0 - float(np.mean(frames)) if len(frames) else 1.0)
        )
    return rows


def _segment(number: int, cue: Cue, words: Sequence[Word], silence: float) -> dict[str, Any]:
    content = cue.text.encode()
    times = [max(word.end - word.start, FRAME_SECONDS) for word in words]
    weighted = sum(time * _log(word) for time, word in zip(times, words, strict=True))
    return {
        "id": number,
        "seek": _frame(cue.start),
        "start": cue.start,
        "end": cue.end,
        "text": cue.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(weighted / sum(times), 6) if times else 0.0,
        "compression_ratio": round(len(content) / len(zlib.compress(content)), 6),
        "no_speech_prob": round(silence, 6),
    }


def _frame(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)


def word_logprobs(transcript: Transcript) -> list[dict[str, Any]]:
    """Return a token per word, with the mean log-probability of its letters.

    The tokens joined are the text.
    """
    pieces = _pieces(transcript)
    return [
        {"token": piece, "bytes": list(piece.encode()), "logprob": round(_log(word), 6)}
        for piece, word in zip(pieces, transcript.words, strict=True)
    ]


def _pieces(transcript: Transcript) -> list[str]:
    """Return the text cut before each word but the first."""
    ends, position = [], 0
    for word in transcript.words:
        position = transcript.text.index(word.text, position) + len(word.text)
        ends.append(position)
    return [transcript.text[a:b] for a, b in itertools.pairwise([0, *ends])]


def _log(word: Word) -> float:
    return math.log(max(word.confidence, _LEAST))


def as_text(transcript: Transcript, name: str, format_name: str) -> str:
    """Return a format of `MEDIA_TYPES`."""
    return render(transcript, name, format_name=format_name)
