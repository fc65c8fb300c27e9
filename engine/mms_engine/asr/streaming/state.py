"""Serialised state of a stream, for another process to continue."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mms_engine.asr.streaming.core import StreamCore
from mms_engine.asr.streaming.language import AUTO
from mms_engine.asr.streaming.options import StreamOptions
from mms_engine.asr.streaming.pcm import Resampler
from mms_engine.errors import StreamError

FORMAT = 2


class Saved(msgspec.Struct, frozen=True):
    """State of a stream."""

    format: int
    """Version of this format."""
    fingerprint: str
    """SHA-256 of the bundle's base weights."""
    language: str
    """Code, or `auto`."""
    options: StreamOptions
    parts: dict[str, Any]
    """State of each component."""


def save(core: StreamCore, fingerprint: str, rest: bytes | None = None) -> bytes:
    """Return the state of a stream between two steps, without requested ends.

    Args:
        core: State of the stream.
        fingerprint: That of the model.
        rest: Bytes of an incomplete sample, where later audio was parsed already.
    """
    utterance = core.utterance
    parts: dict[str, Any] = {
        "rest": core.reader.rest if rest is None else rest,
        "resampler": core.resampler.state(),
        "audio": core.audio.state(),
        "context": core.context.state(),
        "endpointer": core.endpointer.state(),
        "voice": core.voice.state() if core.voice else None,
        "frame": utterance.frame,
        "logits": np.concatenate(utterance.logits) if utterance.logits else None,
    }
    if core.tracker is not None:
        parts["tracker"] = core.tracker.state()
        parts["language"] = [core.language, core.probability]
    language = AUTO if core.tracker is not None else core.language
    saved = Saved(FORMAT, fingerprint, str(language), core.options, parts)
    return msgspec.msgpack.encode(saved, enc_hook=_pack_array)


def load(content: bytes, fingerprint: str) -> Saved:
    """Parse the bytes of `save`.

    Raises:
        StreamError: they are damaged, of another release, or of another model.
    """
    try:
        saved = msgspec.msgpack.decode(content, type=Saved)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StreamError(f"this is not a saved stream: {error}") from error
    if saved.format != FORMAT:
        raise StreamError(
            f"the stream was saved in format {saved.format}, this release reads {FORMAT}: "
            "restore it with the release that saved it"
        )
    if saved.fingerprint != fingerprint:
        raise StreamError("the stream was saved with another model: open the bundle it came from")
    return saved


def restore(core: StreamCore, saved: Saved, sample_rate: int) -> None:
    """Restore a saved state into a new stream of the same language and options.

    Raises:
        StreamError: the state does not fit.
    """
    try:
        parts = _unpack(saved.parts)
        core.reader.rest = parts["rest"]
        core.resampler = Resampler.restored(parts["resampler"], sample_rate)
        core.rate = core.resampler.rate
        core.audio.restore(parts["audio"])
        core.context.restore(parts["context"])
        core.endpointer.restore(parts["endpointer"])
        if core.voice:
            core.voice.restore(parts["voice"])
        if core.tracker is not None:
            core.tracker.restore(parts["tracker"])
            core.use_language(*parts["language"])
        core.utterance.begin(parts["frame"])
        if parts["logits"] is not None:
            core.utterance.step(parts["logits"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StreamError(f"the saved stream does not fit this engine: {error!r}") from error


def _pack_array(value: object) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        return {"dtype": array.dtype.str, "shape": array.shape, "array": array.tobytes()}
    raise TypeError(f"a stream's state holds {type(value).__name__}")


def _unpack(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        if value.keys() == {"dtype", "shape", "array"}:
            return _array(value)
        return {name: _unpack(part) for name, part in value.items()}
    return value


def _array(packed: dict[str, Any]) -> npt.NDArray[Any]:
    dtype = np.dtype(packed["dtype"])
    if dtype.hasobject:
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(packed["array"], dtype).reshape(packed["shape"]).copy()
