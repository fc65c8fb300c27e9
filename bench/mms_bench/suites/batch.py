"""A batch in one language against the same batch in mixed languages."""

from mms_bench.errors import NotHere, Refused
from mms_bench.options import Context
from mms_bench.peers import REFERENCE, holds_many
from mms_bench.race import race
from mms_bench.schema import Case, Row
from mms_bench.suites import entries
from mms_bench.suites.entries import Entry
from mms_bench.suites.work import run_workload
from mms_engine.types import Float32Array

_TIMING = (
    "Timed as one clip; the languages are in the adapter bank before. Both batches hold the same "
    "clips and take turns in one process. The check is made on the first and the last row."
)
ONE = Case(name="batch-one", title="A batch in one language", timing=_TIMING, unit="s of audio")
MIXED = Case(
    name="batch-mixed",
    title="The same batch, another language in each row",
    timing=_TIMING,
    unit="s of audio",
    baseline=f"{ONE.name}/",
)
CASES = (ONE, MIXED)

Logits = list[Float32Array]


def measure(context: Context) -> list[Row]:
    """Measure each implementation alone: it is compared with itself."""
    rows = [
        entries.refusal(MIXED.name, peer, NotHere("holds one language: no batch can be mixed"))
        for peer in context.options.peers
        if not holds_many(peer)
    ]
    ours = [peer for peer in context.options.peers if holds_many(peer)]
    try:
        batches = _batches(context)
        references = _references(context, batches) if ours else {}
    except Refused as reason:
        return rows + [entries.refusal(case.name, peer, reason) for case in CASES for peer in ours]
    for peer in ours:
        try:
            entries.build(context, peer)
            rows += _compare(context, peer, batches, references)
        except Refused as reason:
            rows += [entries.refusal(case.name, peer, reason) for case in CASES]
    return rows


def _batches(context: Context) -> dict[Case, tuple[str, ...]]:
    """Return the languages of the rows of each batch."""
    languages, count = context.setup.languages, context.options.batch
    if len(languages) < 2:
        raise NotHere("needs two languages: name more with --languages")
    return {
        ONE: (languages[0],) * count,
        MIXED: tuple(languages[row % len(languages)] for row in range(count)),
    }


def _references(context: Context, batches: dict[Case, tuple[str, ...]]) -> dict[Case, Logits]:
    """Return the reference's logits of the first and the last row of each batch."""
    found: dict[Case, Logits] = {}
    with entries.loaded(context, REFERENCE) as (worker, _):
        for case, languages in batches.items():
            count = len(languages)
            row = Row(case=case.name, implementation=REFERENCE, status="ok")
            found[case] = []
            for number in (0, count - 1):
                work = run_workload(context, (languages[number],), of=count, row=number)
                found[case] += entries.first_call(context, Entry(worker, work, row))[1]
    return found


def _compare(
    context: Context,
    peer: str,
    batches: dict[Case, tuple[str, ...]],
    references: dict[Case, Logits],
) -> list[Row]:
    """Time both batches in turn in one process.

    Raises:
        Refused: the implementation cannot run.
    """
    racing = []
    with entries.loaded(context, peer) as (worker, seconds):
        for case, languages in batches.items():
            count = len(languages)
            row = Row(
                case=case.name,
                implementation=peer,
                status="ok",
                load_seconds=seconds,
                amount=count * context.options.seconds,
            )
            work = run_workload(context, languages, of=count)
            entry, logits = entries.first_call(context, Entry(worker, work, row))
            racing.append(entries.check(entry, [logits[0], logits[-1]], references[case]))
        wrong = [entry.row for entry in racing if entry.row.status != "ok"]
        if wrong:
            untimed = NotHere(f"the check of the other batch failed: {wrong[0].reason}")
            rows = [entry.row for entry in racing if entry.row.status == "ok"]
            return wrong + [entries.refusal(row.case, peer, untimed) for row in rows]
        laps = race(racing, context.options.pace, context.tell)
        return [entries.finish(entry, laps[entry.name]) for entry in racing]
