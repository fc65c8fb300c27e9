"""Phoneme ids of a piper voice: espeak-ng's IPA symbols, each followed by a pad."""

import ctypes
import ctypes.util
import json
import unicodedata
from functools import cache
from pathlib import Path

_IPA = 0x02  # espeakPHONEMES_IPA
_SYNCHRONOUS = 0x02  # AUDIO_OUTPUT_SYNCHRONOUS
PAD, BEGIN, END = "_", "^", "$"


@cache
def _espeak() -> ctypes.CDLL:
    name = ctypes.util.find_library("espeak-ng")
    if name is None:
        raise OSError("libespeak-ng is missing: apt-get install espeak-ng")
    library = ctypes.CDLL(name)
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    if library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0) < 0:
        raise OSError("libespeak-ng cannot be initialised")
    return library


def phonemize(text: str, voice: str = "en-us") -> str:
    """Return the IPA symbols of `text`, words apart by spaces, with the marks of stress."""
    library = _espeak()
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice}")
    pointer = ctypes.c_char_p(text.encode())
    clauses = []
    while pointer.value:
        clauses.append(library.espeak_TextToPhonemes(ctypes.byref(pointer), 1, _IPA).decode())
    return unicodedata.normalize("NFD", " ".join(" ".join(clauses).split()))


@cache
def phoneme_map(voice_file: Path) -> dict[str, int]:
    """Return the ids of the symbols, from the JSON beside a piper ONNX file."""
    config = json.loads(voice_file.with_suffix(".onnx.json").read_text(encoding="utf-8"))
    return {symbol: ids[0] for symbol, ids in config["phoneme_id_map"].items()}


def phoneme_ids(symbols: str, ids: dict[str, int]) -> list[int]:
    """Return ids with begin, end and pads between all; unknown symbols are dropped."""
    found = [ids[BEGIN], ids[PAD]]
    for symbol in symbols:
        if symbol in ids:
            found += [ids[symbol], ids[PAD]]
    return [*found, ids[END]]
