"""One clip in one language: every implementation beside the reference."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from mms_bench.errors import NotHere, Refused
from mms_bench.options import Context
from mms_bench.peers import REFERENCE, holds_many
from mms_bench.race import race
from mms_bench.schema import Case, Row
from mms_bench.suites import entries
from mms_bench.suites.entries import Entry
from mms_bench.suites.work import run_workload
from mms_engine.types import Float32Array

CASE = Case(
    name="clip",
    title="One clip in one language",
    timing=(
        "Timed: from the normalised waveform in memory to the logits in memory. Not in it: reading "
        "and decoding the file, resampling, normalising, and turning logits into text. The "
        "language's weights are loaded before."
    ),
    unit="s of audio",
    baseline=REFERENCE,
)

# A heat is full when less than this many times the largest peak so far is free: some need twice
# the size of the model while they load it.
_ROOM = 2.0


def measure(context: Context) -> list[Row]:
    """Race all peers, in as many heats as memory asks for, each with the reference in it."""
    peers = [peer for peer in context.options.peers if peer != REFERENCE]
    # Ours go first, so that they are in the heat with the most others.
    rows, waiting = _build(context, sorted(peers, key=lambda peer: not holds_many(peer)))
    heat = 1
    while waiting or heat == 1:
        try:
            found, waiting = _heat(context, waiting, heat)
        except Refused as reason:
            rows.append(entries.refusal(CASE.name, REFERENCE, reason))
            nothing = NotHere(f"{REFERENCE}, the reference, gives nothing to check against")
            return rows + [entries.refusal(CASE.name, peer, nothing) for peer in waiting]
        rows += found
        heat += 1
    return rows


def _build(context: Context, peers: list[str]) -> tuple[list[Row], list[str]]:
    """Return rows of those that cannot be built, and the others."""
    rows, able = [], []
    for peer in peers:
        try:
            entries.build(context, peer)
            able.append(peer)
        except Refused as reason:
            rows.append(entries.refusal(CASE.name, peer, reason))
    return rows, able


def _heat(context: Context, waiting: list[str], heat: int) -> tuple[list[Row], list[str]]:
    """Race the reference and as many of `waiting` as fit; return their rows and the rest.

    Raises:
        Refused: the reference cannot run.
    """
    rows: list[Row] = []
    racing: list[Entry] = []
    with contextlib.ExitStack() as stack:
        reference, logits = stack.enter_context(_start(context, REFERENCE, heat))
        racing.append(reference)
        while waiting and (len(racing) < 2 or _has_room(racing)):
            peer, *waiting = waiting
            try:
                entry, found = stack.enter_context(_start(context, peer, heat))
                entry = entries.check(entry, found, logits)
            except Refused as reason:
                rows.append(replace(entries.refusal(CASE.name, peer, reason), heat=heat))
                continue
            if entry.row.status == "ok":
                racing.append(entry)
            else:
                rows.append(entry.row)
                entry.worker.close()
        laps = race(racing, context.options.pace, context.tell)
        rows = [entries.finish(entry, laps[entry.name]) for entry in racing] + rows
    return rows, waiting


@contextlib.contextmanager
def _start(context: Context, peer: str, heat: int) -> Iterator[tuple[Entry, list[Float32Array]]]:
    """Yield a peer that has loaded its model and made its first call, and the logits of that."""
    with entries.loaded(context, peer) as (worker, seconds):
        row = Row(
            case=CASE.name,
            implementation=peer,
            status="ok",
            heat=heat,
            load_seconds=seconds,
            amount=context.options.seconds,
        )
        workload = run_workload(context, (context.setup.languages[0],))
        yield entries.first_call(context, Entry(worker, workload, row))


def _has_room(racing: list[Entry]) -> bool:
    """Say whether another model may be loaded beside those that are."""
    import psutil

    largest = max(entry.worker.peak_memory() for entry in racing)
    available: int = psutil.virtual_memory().available
    return available > _ROOM * largest
