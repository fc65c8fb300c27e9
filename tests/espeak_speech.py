"""Speech of espeak-ng with the times of its phonemes, by its library."""

import ctypes
import ctypes.util
import functools
from dataclasses import dataclass

import numpy as np

_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8 = 2, 1, 1
_END, _WORD, _PHONEME = 0, 1, 7
_RATE = 1


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Speech, and the times of its words."""

    samples: np.ndarray
    rate: int
    words: list[tuple[float, float]]
    """Start of the first phoneme and end of the last of each word, seconds."""


class _Engine:
    """The library, initialised once: it does not survive a second time."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._blocks: list[np.ndarray] = []
        self._events: list[tuple[int, float, bytes]] = []
        self._receiver = _CALLBACK(self._receive)  # the library keeps no reference
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        self._library.espeak_SetSynthCallback(self._receiver)

    def _receive(self, samples, count, event):
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        k = 0
        while event[k].type != _END:
            self._events.append((event[k].type, event[k].audio_position / 1000, event[k].id.string))
            k += 1
        return 0

    def synthesize(self, text: str, voice: str, words_per_minute: int) -> Synthesis | None:
        self._blocks.clear()
        self._events.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            return None
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        samples = np.concatenate(self._blocks).astype(np.float32) / 32768
        seconds = len(samples) / self._rate
        return Synthesis(samples, self._rate, _words(self._events, seconds))


@functools.cache
def _engine() -> _Engine | None:
    path = ctypes.util.find_library("espeak-ng")
    return None if path is None else _Engine(path)


def synthesize(text: str, voice: str, words_per_minute: int = 140) -> Synthesis | None:
    """Return a text in a voice, `None` where espeak-ng or the voice is not installed."""
    engine = _engine()
    return None if engine is None else engine.synthesize(text, voice, words_per_minute)


def _words(events: list[tuple[int, float, bytes]], seconds: float) -> list[tuple[float, float]]:
    """Return the spans of the words; a phoneme ends where the next, or a pause (`_`), begins."""
    phonemes = [at for kind, at, _ in events if kind == _PHONEME]
    words: list[list[tuple[float, float]]] = []
    number = 0
    for kind, at, name in events:
        if kind == _WORD:
            words.append([])
        elif kind == _PHONEME:
            number += 1
            end = phonemes[number] if number < len(phonemes) else seconds
            if words and not name.startswith(b"_"):
                words[-1].append((at, end))
    return [(word[0][0], word[-1][1]) for word in words if word]
