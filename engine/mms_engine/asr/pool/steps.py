"""Steps of pooled streams on their way through a lane; an error of one fails its stream alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from mms_engine.asr.pool.pooled_stream import PooledStream
from mms_engine.asr.streaming.core import StreamStep
from mms_engine.asr.streaming.language import LanguageStep
from mms_engine.encoder.interface import StepInput, StepOutput
from mms_engine.errors import BackendError, MmsError
from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Stream with windows to classify."""

    stream: PooledStream
    step: LanguageStep


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """Stream with a step to run."""

    stream: PooledStream
    step: StreamStep


@dataclass(frozen=True, slots=True, eq=False)
class WithRow(Ready):
    """Step with its encoder input."""

    row: StepInput


def begin(stream: PooledStream) -> Ready | Windows | None:
    """Return the next step of a stream, or `None`."""
    try:
        step = stream.begin_step()
    except Exception as error:  # noqa: BLE001 (delivered to the stream)
        stream.fail(as_error(error))
        return None
    if isinstance(step, LanguageStep):
        return Windows(stream, step)
    return None if step is None else Ready(stream, step)


def decide(windows: Windows, logits: Sequence[Float32Array]) -> None:
    """Give a stream the logits of its windows."""
    try:
        windows.stream.decide(logits)
    except Exception as error:  # noqa: BLE001 (delivered to the stream)
        windows.stream.fail(as_error(error))


def with_row(ready: Ready, features: Float32Array) -> WithRow | None:
    """Add the encoder input to a step with features; `None` if the stream failed."""
    try:
        row = ready.stream.row(ready.step, features)
    except Exception as error:  # noqa: BLE001 (delivered to the stream)
        ready.stream.fail(as_error(error))
        return None
    return WithRow(ready.stream, ready.step, row)


def complete(encoded: tuple[WithRow, StepOutput]) -> None:
    """Decode the output of a step."""
    row, output = encoded
    try:
        row.stream.complete(row.step, output)
    except Exception as error:  # noqa: BLE001 (delivered to the stream)
        row.stream.fail(as_error(error))


def as_error(error: Exception) -> MmsError:
    """Return an error as an `MmsError`."""
    if isinstance(error, MmsError):
        return error
    made = BackendError(f"a step of the stream failed: {error}")
    made.__cause__ = error
    return made
