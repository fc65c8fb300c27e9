"""Case `listeners`: clients that hear a text while it is made, without a gap."""

import threading
import time
from dataclasses import replace
from typing import cast

from mms_bench.errors import Failed, NotMeasured
from mms_bench.peers import is_ours
from mms_bench.peers.engine import check_precision
from mms_bench.run.context import Context
from mms_bench.run.result import Case, Curve, Figure, Row
from mms_engine.errors import MmsError
from mms_engine.tts.synthesizer import Synthesizer
from mms_engine.types import Precision

MOST = 64
_SENTENCES = 4
"""Sentences that each listener hears."""
_BUFFER_SECONDS = 0.2
"""Time from the first audio until a player begins."""

LISTENERS = Case(
    name="listeners",
    title="Listeners in real time",
    timing=(
        f"Wall clock. Each listener hears the sentence {_SENTENCES} times from a thread of its "
        f"own; all begin at once, and play from {1000 * _BUFFER_SECONDS:g} ms after their first "
        "audio. A gap is the time for which one had nothing to play. The number of listeners grows "
        "until there is one."
    ),
    figures=(
        Figure("streams", "listeners", "number"),
        Figure("first", "first audio, the slowest", "seconds"),
        Figure("gap", "longest gap", "seconds"),
    ),
    curves=(Curve("streams", "first"),),
)


def measure_listeners(context: Context) -> list[Row]:
    """Add listeners to each of our peers until one has a gap."""
    rows: list[Row] = []
    for peer in filter(is_ours, context.options.peers):
        try:
            rows += _measure(context, peer)
        except NotMeasured as reason:
            rows.append(Row(case=LISTENERS.name, implementation=peer).refused(reason))
        except MmsError as error:
            failed = Failed(str(error))
            rows.append(Row(case=LISTENERS.name, implementation=peer).refused(failed))
    return rows


def _measure(context: Context, peer: str) -> list[Row]:
    precision = cast("Precision", peer.removeprefix("ours-"))
    bundle = check_precision(context.options, precision)
    rows: list[Row] = []
    sustained = {"streams": 0.0}
    # A thread each: listeners share the cores among them.
    with Synthesizer.open(bundle, device="cpu", precision=precision, threads=1) as synthesizer:
        synthesizer.synthesize(context.options.text, context.options.languages[0])
        count = 1
        while count <= MOST:
            name = f"{peer} {count} listener{'s' * (count > 1)}"
            context.tell(name)
            figures = hear(synthesizer, context, count)
            row = Row(case=LISTENERS.name, implementation=name, figures=figures)
            rows.append(replace(row, series=peer))
            if figures["gap"] > 0:
                break
            sustained = figures
            count += max(1, count // 2)
    name = f"{peer} sustained"
    return [*rows, Row(case=LISTENERS.name, implementation=name, figures=sustained)]


def hear(synthesizer: Synthesizer, context: Context, count: int) -> dict[str, float]:
    """Speak to so many listeners at once; return the figures."""
    languages = context.options.languages
    first, gaps = [0.0] * count, [0.0] * count
    errors: list[MmsError] = []
    start = threading.Barrier(count)

    def listen(number: int) -> None:
        start.wait()
        begin, played = time.monotonic(), 0.0
        try:
            for chunk in synthesizer.speak(
                [context.options.text + ". "] * _SENTENCES, languages[number % len(languages)]
            ):
                now = time.monotonic() - begin
                if not played:
                    first[number] = now
                gap = now - first[number] - _BUFFER_SECONDS - played
                gaps[number] = max(gaps[number], gap)
                played += chunk.seconds
        except MmsError as error:
            errors.append(error)

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise Failed(str(errors[0]))
    return {"streams": float(count), "first": max(first), "gap": max(gaps)}
