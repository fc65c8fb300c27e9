"""Cases of several voices: the change of voice, and memory."""

from dataclasses import replace

from mms_bench.errors import Skipped
from mms_bench.peers import REFERENCE, is_ours
from mms_bench.peers.base import Switch
from mms_bench.peers.voices import Sentence
from mms_bench.run.context import Context, Trial
from mms_bench.run.result import Case, Row

RESIDENT = Case(
    name="voice-memory",
    title="Changing to a resident voice",
    timing="Timed: the change itself. The voices take turns; all have been used before.",
    baseline=f"voice-disk/{REFERENCE}",
)
DISK = Case(
    name="voice-disk",
    title="Changing to a voice that is read from disk",
    timing=(
        "Timed: the change itself, with the files in the page cache: for the engine a file of "
        "data, for the others a model or a session."
    ),
    baseline=REFERENCE,
)
MEMORY = Case(
    name="memory",
    title="Memory by voices",
    timing="Timed: one sentence in the last voice, with all voices loaded. Memory is the peak.",
)
_NEEDS_TWO = Skipped("needs two voices: name more with --languages")


def measure_switch(context: Context) -> list[Row]:
    """Race changes of the voice; one of our precisions stands for all."""
    options = context.options
    if len(options.languages) < 2:
        row = Row(case=DISK.name, implementation=REFERENCE)
        return [replace(row, case=case.name).refused(_NEEDS_TWO) for case in (RESIDENT, DISK)]
    work = Switch(options.languages)
    ours = [peer for peer in options.peers if is_ours(peer)][:1]
    trials = [
        Trial(case=DISK.name, peer=peer, work=work) for peer in options.peers if not is_ours(peer)
    ]
    for peer in ours:
        disk = replace(options, one_language=True)
        trials += [
            Trial(case=RESIDENT.name, peer=peer, name="ours", work=work),
            Trial(case=DISK.name, peer=peer, name="ours", work=work, setup=disk),
        ]
    return context.measure(trials)


def measure_memory(context: Context) -> list[Row]:
    """Measure each peer with one voice, and with all."""
    options = context.options
    trials = [
        Trial(
            case=MEMORY.name,
            peer=peer,
            name=f"{peer} {count} voice{'s' * (count > 1)}",
            work=Sentence(options.text, options.languages[count - 1]),
            setup=replace(options, languages=options.languages[:count]),
        )
        for count in sorted({1, len(options.languages)})
        for peer in options.peers
    ]
    rows: list[Row] = []
    for trial in trials:  # one at a time, for their memory
        rows += context.measure([trial])
    return rows
