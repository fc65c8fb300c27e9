"""The engine on long recordings: streams in audio time, and errors as reasons."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import cast

from mms_bench.errors import Failed, NotMeasured, Skipped
from mms_bench.peers import is_ours
from mms_bench.peers.base import Setup
from mms_bench.peers.engine import check_precision
from mms_bench.run.audio import Recording, joined, read_recordings
from mms_bench.run.context import Context
from mms_bench.run.result import Case, Row
from mms_engine.asr.recognizer import Recognizer
from mms_engine.asr.streaming import Event, StreamOptions
from mms_engine.asr.streaming.language import AUTO, LanguageFinder
from mms_engine.audio import SAMPLE_RATE
from mms_engine.errors import MmsError
from mms_engine.types import Precision

_RECORDING_SECONDS = 60.0
_PIECE_SECONDS = 0.02
"""Audio fed at a time: a telephony packet, the resolution of the delays."""


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Turn errors of the engine into `Failed`; also a decorator."""
    try:
        yield
    except MmsError as error:
        raise Failed(str(error)) from error


def measure_peers(
    context: Context, case: Case, measure: Callable[[Context, str], list[Row]]
) -> list[Row]:
    """Return the rows of each of our peers, or the reason why there are none."""
    rows: list[Row] = []
    for peer in filter(is_ours, context.options.peers):
        try:
            rows += measure(context, peer)
        except NotMeasured as reason:
            rows.append(Row(case=case.name, implementation=peer).refused(reason))
    return rows


def open_recognizer(setup: Setup, peer: str) -> Recognizer:
    """Open the bundle on the CPU in the precision of a peer; Skipped if it has no such graphs."""
    precision = cast("Precision", peer.removeprefix("ours-"))
    bundle = check_precision(setup, precision)
    return Recognizer.open(bundle, device="cpu", precision=precision, threads=setup.threads)


def long_recordings(context: Context) -> list[Recording]:
    """Return recordings of about a minute in the languages of the run; Skipped if none."""
    table = context.options.recordings
    found = joined(read_recordings(table, context.options.languages), _RECORDING_SECONDS)
    if not found:
        raise Skipped(f"{table.name} has no recording in these languages")
    return found


@engine_errors()
def simulate(
    recognizer: Recognizer,
    recording: Recording,
    options: StreamOptions,
    finder: LanguageFinder | None = None,
) -> tuple[tuple[Event, ...], float]:
    """Feed a stream as if computing took no time; return events and CPU seconds of all threads.

    With an identification model the stream finds its language.

    The `audio_seconds` of an event is when it was displayed.
    """
    begin = time.process_time()
    events: list[Event] = []
    size = round(_PIECE_SECONDS * SAMPLE_RATE)
    language = AUTO if finder else recording.language
    with recognizer.stream(language, options, finder=finder) as stream:
        for start in range(0, len(recording.samples), size):
            events += stream.feed(recording.samples[start : start + size])
        events += stream.finish()
    return tuple(events), time.process_time() - begin
