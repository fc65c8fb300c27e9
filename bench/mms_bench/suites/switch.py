"""Changing the language: from memory, from disk, and transformers' `load_adapter`."""

import contextlib
from collections.abc import Iterator

from mms_bench.errors import NotHere, Refused
from mms_bench.messages import Action
from mms_bench.options import Context
from mms_bench.peers import REFERENCE
from mms_bench.race import race
from mms_bench.schema import Case, Row
from mms_bench.suites import entries
from mms_bench.suites.entries import Entry
from mms_bench.suites.work import switch_workload

MEMORY = Case(
    name="switch-memory",
    title="Changing to a language that is held in memory",
    timing=(
        "Timed: the change itself, not the recognition after it. The languages take turns, and "
        "all have been used before."
    ),
    baseline=f"switch-disk/{REFERENCE}",
)
DISK = Case(
    name="switch-disk",
    title="Changing to a language that must be read",
    timing=(
        "Timed: the change itself. The files are in the system's cache, so it is the work of the "
        "software, not the disk, that is measured. Ours checks the SHA-256 of the file in that "
        "time, transformers does not."
    ),
    baseline=REFERENCE,
)
CASES = (MEMORY, DISK)
OURS = "ours"

_ACTIONS: dict[str, Action] = {MEMORY.name: "switch-memory", DISK.name: "switch-disk"}


def measure(context: Context) -> list[Row]:
    """Race the reference against each implementation that can switch."""
    if len(context.setup.languages) < 2:
        reason = NotHere("needs two languages: name more with --languages")
        return [entries.refusal(case.name, REFERENCE, reason) for case in CASES]
    rows: list[Row] = []
    racing: list[Entry] = []
    with contextlib.ExitStack() as stack:
        for name, peers in _contestants(context).items():
            try:
                found = stack.enter_context(_start_first(context, name, peers))
            except Refused as reason:
                rows += [entries.refusal(case.name, name, reason) for case in CASES]
                continue
            racing += [item for item in found if isinstance(item, Entry)]
            rows += [item for item in found if isinstance(item, Row)]
        laps = race(racing, context.options.pace, context.tell)
        return [entries.finish(entry, laps[entry.name]) for entry in racing] + rows


def _contestants(context: Context) -> dict[str, list[str]]:
    """Return peers by the name of the row: of ours, any precision keeps adapters the same way."""
    ours = [peer for peer in context.options.peers if peer.startswith("ours-")]
    return {REFERENCE: [REFERENCE]} | ({OURS: ours} if ours else {})


@contextlib.contextmanager
def _start_first(context: Context, name: str, peers: list[str]) -> Iterator[list[Entry | Row]]:
    """Yield what `_start` does, of the first peer that can run.

    Raises:
        Refused: none can; the reason is that of the last.
    """
    for peer in peers:
        try:
            entries.build(context, peer)
        except Refused:
            if peer == peers[-1]:
                raise
            continue
        with _start(context, name, peer) as found:
            yield found
        return


@contextlib.contextmanager
def _start(context: Context, name: str, peer: str) -> Iterator[list[Entry | Row]]:
    """Yield an entry for each way to switch, or the row that says why there is none."""
    found: list[Entry | Row] = []
    with entries.loaded(context, peer) as (worker, seconds):
        for case in CASES:
            row = Row(case=case.name, implementation=name, status="ok", load_seconds=seconds)
            workload = switch_workload(_ACTIONS[case.name], context.setup.languages)
            try:
                entry, _ = entries.first_call(context, Entry(worker, workload, row))
                found.append(entry)
            except Refused as reason:
                found.append(entries.refusal(case.name, name, reason))
        yield found
