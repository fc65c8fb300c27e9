"""Voice files, `voices/<code>.safetensors`: one voice's weights and the rules of its text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mms_engine.bundle.files import atomic_open
from mms_engine.errors import BundleCorrupt

FORMAT = "mms-voice-1"
_LENGTH = 8
"""Bytes of the length of the header, with which a safetensors file begins."""
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"), "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"), "I8": np.dtype("i1"), "U8": np.dtype("u1"),
}  # fmt: skip
_KEY = "mms"
"""Key of the metadata: a single one, because safetensors writes several in no fixed order."""


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a voice, in the header of its file."""

    format: str = FORMAT
    language: str
    """Code of the voice in the bundle."""
    fingerprint: str
    """SHA-256 of the sizes of the graphs that take the voice."""
    source: str
    """Hub id, or name of the folder."""
    sampling_rate: int
    vocabulary: dict[str, int]
    """Id of each token, in the order in which the tokenizer tries them. Id 0 is a letter too."""
    add_blank: bool = True
    """Whether id 0 stands before, between and behind the letters."""
    normalize: bool = True
    """Whether text is lower-cased, and other characters than those of the vocabulary dropped."""
    is_uroman: bool = False
    """Whether text with other characters than ASCII is romanised."""
    phonemize: bool = False
    """Whether text is converted to phonemes."""
    tokenizer_language: str | None = None
    """Language of the tokenizer, which has a rule of its own for `ron`."""
    noise_scale: float = 0.667
    """Default scale of the latents' noise."""
    noise_scale_duration: float = 0.8
    """Default scale of the durations' noise."""
    speaking_rate: float = 1.0
    """Default rate; durations are divided by it."""


def save_voice(path: Path, tensors: Mapping[str, npt.NDArray[Any]], voice: Voice) -> None:
    """Write a voice file atomically; equal voices give equal bytes.

    Raises:
        BundleError: the file system refused.
    """
    document = msgspec.json.encode(voice).decode()
    # Not ascontiguousarray, which gives scalars an axis.
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    # Not save_file, whose files only their owner can read.
    with atomic_open(path) as stream:
        stream.write(save(arrays, metadata={_KEY: document}))


def read_voice(path: Path) -> Voice:
    """Return the description of a voice from the header of its file.

    Raises:
        BundleCorrupt: the file is not a voice of this format.
    """
    try:
        with safe_open(str(path), framework="numpy") as reader:
            voice = msgspec.convert(json.loads((reader.metadata() or {})[_KEY]), Voice)
    except (SafetensorError, msgspec.MsgspecError, KeyError, ValueError, OSError) as error:
        raise _not_a_voice(path, error) from error
    if voice.format != FORMAT:
        raise _not_a_voice(path, KeyError("format"))
    return voice


@dataclass(frozen=True, slots=True, eq=False)
class VoiceWeights:
    """Weights of a voice, over the memory maps of its files."""

    path: Path
    voice: Voice
    tensors: Mapping[str, npt.NDArray[Any]]
    """Read-only arrays by name; bfloat16 as its bits."""


def load_voice(path: Path, int8: Path | None = None) -> VoiceWeights:
    """Map a voice file, and the file of its quantised weights, which take precedence.

    Raises:
        BundleCorrupt: a file is not a voice of this format.
    """
    voice = read_voice(path)
    tensors = _map_tensors(path)
    if int8 is not None:
        tensors.update(_map_tensors(int8))
    return VoiceWeights(path, voice, tensors)


def _map_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a safetensors file without reading them."""
    try:
        with safe_open(str(path), framework="numpy"):  # which checks sizes and offsets
            pass
        content = np.memmap(path, np.uint8, mode="r")
        start = _LENGTH + int.from_bytes(content[:_LENGTH].tobytes(), "little")
        header = json.loads(content[_LENGTH:start].tobytes())
        return {
            name: _view(content[start:], entry)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise _not_a_voice(path, error) from error


def _view(content: npt.NDArray[np.uint8], entry: dict[str, Any]) -> npt.NDArray[Any]:
    begin, end = entry["data_offsets"]
    array: npt.NDArray[Any] = content[begin:end].view(_DTYPES[entry["dtype"]])
    return array.reshape(entry["shape"])


def _not_a_voice(path: Path, error: Exception) -> BundleCorrupt:
    return BundleCorrupt(
        f"{path} is not a voice of format {FORMAT} ({error}): export the bundle again"
    )
