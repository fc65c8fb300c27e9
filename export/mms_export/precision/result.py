"""The result file of a survey."""

from dataclasses import dataclass

import msgspec

from mms_engine.errors import MmsError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRange:
    """The values of one kind in one layer, of the fp32 graph, over all clips."""

    layer: int
    kind: str
    """One of `places.KINDS`."""
    peak: float
    """Largest magnitude."""
    overflowing: float
    """Share of values that float16 could not hold, in [0, 1]."""
    subnormal: float
    """Share that float16 would hold with fewer than eleven bits, zeros not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One arithmetic on all clips, against the fp32 graph with the stream as it is."""

    arithmetic: str
    gain: float
    """Factor by which the residual stream was multiplied."""
    agreement: float
    """Share of frames with the same most likely token and no value that is not finite."""
    max_abs_error: float | None
    """Of a logit; None where one is not finite."""
    overflowing: int
    """Values that were finite and became infinite by rounding."""
    subnormal: float
    """Share of 16-bit results below the smallest normal number of their type."""
    first_overflow: str
    """Part of the network and operator whose result was the first not to fit; or empty."""
    weight_bytes: int = 0
    """Of the encoder's graph, without the languages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What rounding does to one model."""

    schema: int
    model: str
    hidden_size: int
    layers: int
    clips: int
    seconds: float
    """Audio in all clips."""
    frames: int
    stream_peak: float
    """Largest magnitude in the residual stream, in fp32."""
    added_peak: float
    """Largest magnitude that one layer adds to it at once."""
    ranges: tuple[LayerRange, ...]
    sweep: tuple[Row, ...]
    """Arithmetics against gains of the stream."""
    formats: tuple[Row, ...]
    """Arithmetics and 8-bit weights, the stream as it is."""
    versions: dict[str, str]


def encode(survey: Survey) -> bytes:
    """Return the content of a result file."""
    return msgspec.json.format(msgspec.json.encode(survey), indent=1) + b"\n"


def decode(content: bytes, *, where: str) -> Survey:
    """Read a result file.

    Raises:
        MmsError: it is not one, or of another schema.
    """
    try:
        survey = msgspec.json.decode(content, type=Survey)
    except msgspec.MsgspecError as error:
        raise MmsError(f"{where} is not the result of a precision survey: {error}") from error
    if survey.schema != SCHEMA:
        raise MmsError(f"{where} has schema {survey.schema}, expected {SCHEMA}: run it again")
    return survey
