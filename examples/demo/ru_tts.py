"""The Russian synthesiser ru_tts (MIT), called in the library that `retro-ru-tts` installs.

The package's own binding does not run on Python 3.11, so the library's two functions are called.
"""

import ctypes
import importlib.util

import numpy as np
from numpy.typing import NDArray

RATE = 10_000
ALTERNATIVE_VOICE = 4
_CONSUMER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_BUFFER_BYTES = 8192


class _Config(ctypes.Structure):
    """ru_tts_conf_t: percentages, then flags."""

    _fields_ = [
        (name, ctypes.c_int)
        for name in ("rate", "pitch", "intonation", *(f"gap_{n}" for n in range(8)), "flags")
    ]


def load() -> ctypes.CDLL:
    """The library inside the installed package."""
    spec = importlib.util.find_spec("_ru_tts_native")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("ru_tts is not installed: pip install retro-ru-tts")
    return ctypes.CDLL(spec.origin)


def speak(
    library: ctypes.CDLL, text: str, rate: int, pitch: int, *, alternative: bool
) -> NDArray[np.float32]:
    """Samples of a sentence at 10 kHz; `rate` and `pitch` are percentages."""
    config = _Config()
    library.ru_tts_config_init(ctypes.byref(config))
    config.rate, config.pitch = rate, pitch
    config.flags |= ALTERNATIVE_VOICE if alternative else 0
    chunks: list[bytes] = []

    def consume(buffer: int, size: int, _: int) -> int:
        chunks.append(ctypes.string_at(buffer, size))
        return 0

    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    encoded = text.encode("koi8-r")
    library.ru_tts_transfer(
        ctypes.byref(config), encoded, buffer, _BUFFER_BYTES, _CONSUMER(consume), None
    )
    return np.frombuffer(b"".join(chunks), np.int8).astype(np.float32) / np.float32(128)
