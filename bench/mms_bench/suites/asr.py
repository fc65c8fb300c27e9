"""Suite `asr`: speed on a clip and on batches, language switching, cold start."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from mms_bench.errors import Failed, NotMeasured, Skipped
from mms_bench.peers import ON_CUDA, RECOGNISERS, REFERENCE, is_ours
from mms_bench.peers.base import Batch, Switch
from mms_bench.run import commands
from mms_bench.run.audio import clips
from mms_bench.run.check import TOLERANCES, compare
from mms_bench.run.context import Context, Entry, timed_row
from mms_bench.run.race import Runner, race, repeat_call
from mms_bench.run.result import Case, Row, refusal
from mms_bench.run.suite import Part, Suite
from mms_engine.types import Float32Array

Logits = list[Float32Array]

CLIP = Case(
    name="clip",
    title="One clip in one language",
    timing=(
        "Timed: from normalised samples in memory to logits in memory. Not timed: reading, "
        "decoding, resampling and normalising the audio, decoding the logits, and loading the "
        "language."
    ),
    unit="s of audio",
    baseline=REFERENCE,
)
_BATCH_TIMING = (
    "Timed as one clip; the languages are resident. Both batches hold the same clips and take "
    "turns in one process. The first and the last row are checked."
)
BATCH = Case(
    name="batch-one", title="A batch in one language", timing=_BATCH_TIMING, unit="s of audio"
)
MIXED = Case(
    name="batch-mixed",
    title="The same batch with a different language in each row",
    timing=_BATCH_TIMING,
    unit="s of audio",
    baseline="batch-one/",
)
MEMORY = Case(
    name="switch-memory",
    title="Switching to a resident language",
    timing="Timed: the switch itself. The languages take turns; all have been used before.",
    baseline=f"switch-disk/{REFERENCE}",
)
DISK = Case(
    name="switch-disk",
    title="Switching to a language that is read from disk",
    timing=(
        "Timed: the switch itself, with the files in the page cache. The engine verifies the "
        "SHA-256 of the file in that time, transformers does not."
    ),
    baseline=REFERENCE,
)
COLD = Case(
    name="cold",
    title="A cold process",
    timing=(
        "Timed: the whole process, with the demo bundle and one clip. The files are in the page "
        "cache."
    ),
)
_ROOM = 2.0
"""Multiple of the largest peak memory that must be free for one more model in a group: some need
twice the size of the model while they load."""
_NEEDS_TWO = Skipped("needs two languages: name more with --languages")


def measure_clip(context: Context) -> list[Row]:
    """Race all peers, in as many groups as memory asks for, each with the reference in it."""
    rows, waiting = [], []
    others = [peer for peer in context.options.peers if peer != REFERENCE]
    # This project's first, so that they are in the group with the most others.
    for peer in sorted(others, key=lambda peer: not is_ours(peer)):
        try:
            context.build(peer)
            waiting.append(peer)
        except NotMeasured as reason:
            rows.append(refusal(CLIP.name, peer, reason))
    group = 1
    while waiting or group == 1:
        try:
            found, waiting = _clip_group(context, waiting, group)
        except NotMeasured as reason:
            rows.append(refusal(CLIP.name, REFERENCE, reason))
            nothing = Skipped(f"{REFERENCE}, the reference, has no result to check against")
            return rows + [refusal(CLIP.name, peer, nothing) for peer in waiting]
        rows += found
        group += 1
    return rows


def _clip_group(context: Context, waiting: list[str], group: int) -> tuple[list[Row], list[str]]:
    """Race the reference and as many peers as fit; return their rows and the other peers."""
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        entries = [stack.enter_context(_clip_entry(context, REFERENCE, group))]
        while waiting and (len(entries) < 2 or _has_room(entries)):
            peer, *waiting = waiting
            try:
                entry = stack.enter_context(_clip_entry(context, peer, group))
                entry = _checked(entry, entry.result, entries[0].result)
            except NotMeasured as reason:
                rows.append(replace(refusal(CLIP.name, peer, reason), group=group))
                continue
            if entry.row.status == "ok":
                entries.append(entry)
            else:
                rows.append(entry.row)
                entry.worker.close()
        return context.race(entries) + rows, waiting


@contextlib.contextmanager
def _clip_entry(context: Context, peer: str, group: int) -> Iterator[Entry]:
    with context.loaded(peer) as (worker, seconds):
        row = Row(case=CLIP.name, implementation=peer, group=group, load_seconds=seconds)
        row = replace(row, amount=context.options.seconds)
        yield context.first_call(worker, _batch(context, context.setup.languages[:1]), row)


def _batch(context: Context, languages: tuple[str, ...]) -> Batch:
    return Batch(clips(context.options.audio, context.options.seconds, len(languages)), languages)


def _has_room(entries: list[Entry]) -> bool:
    import psutil

    largest = max(entry.worker.peak_memory() for entry in entries)
    available: int = psutil.virtual_memory().available
    return available > _ROOM * largest


def _checked(entry: Entry, logits: Logits, reference: Logits) -> Entry:
    """Return the entry with its check, and the status `failed` if it did not pass."""
    try:
        found = compare(logits, reference, TOLERANCES[entry.worker.precision])
    except ValueError as error:
        raise Failed(str(error)) from error
    row = replace(entry.row, check=found)
    if not found.passed:
        reason = (
            f"wrong: {found.argmax_agreement:.2%} of {found.frames} frames agree with the "
            f"reference, the largest difference is {found.max_abs_error:.2g}"
        )
        row = replace(row, status="failed", reason=reason)
    return replace(entry, row=row)


def measure_batch(context: Context) -> list[Row]:
    """Race a batch in one language against a mixed one, each of our peers in its own process."""
    ours = [peer for peer in context.options.peers if is_ours(peer)]
    single = Skipped("holds one language: a batch cannot be mixed")
    rows = [refusal(MIXED.name, p, single) for p in context.options.peers if not is_ours(p)]
    languages, count = context.setup.languages, context.options.batch
    batches = {
        BATCH.name: _batch(context, languages[:1] * count),
        MIXED.name: _batch(context, (languages * count)[:count]),
    }
    references: dict[str, Logits] = {}
    for peer in ours:
        try:
            if len(languages) < 2:
                raise _NEEDS_TWO
            references = references or _references(context, batches)
            context.build(peer)
            rows += _race_batches(context, peer, batches, references)
        except NotMeasured as reason:
            rows += [refusal(case, peer, reason) for case in batches]
    return rows


def _references(context: Context, batches: dict[str, Batch]) -> dict[str, Logits]:
    """Return the reference's logits of the first and the last row of each batch."""
    ends = (slice(0, 1), slice(-1, None))
    with context.loaded(REFERENCE) as (worker, _):
        return {
            case: [
                worker.first(Batch(batch.audio[row], batch.languages[row])).result[0]
                for row in ends
            ]
            for case, batch in batches.items()
        }


def _race_batches(
    context: Context, peer: str, batches: dict[str, Batch], references: dict[str, Logits]
) -> list[Row]:
    entries = []
    with context.loaded(peer) as (worker, seconds):
        for case, batch in batches.items():
            amount = len(batch.languages) * context.options.seconds
            row = Row(case=case, implementation=peer, load_seconds=seconds, amount=amount)
            entry = context.first_call(worker, batch, row)
            logits = [entry.result[0], entry.result[-1]]
            entries.append(_checked(entry, logits, references[case]))
        wrong = [entry.row for entry in entries if entry.row.status != "ok"]
        if not wrong:
            return context.race(entries)
        untimed = Skipped(f"the check of the other batch failed: {wrong[0].reason}")
        right = [entry.row.case for entry in entries if entry.row.status == "ok"]
        return wrong + [refusal(case, peer, untimed) for case in right]


def measure_switch(context: Context) -> list[Row]:
    """Race the reference's `load_adapter` against the engine's bank."""
    languages = context.setup.languages
    if len(languages) < 2:
        return [refusal(case.name, REFERENCE, _NEEDS_TWO) for case in (MEMORY, DISK)]
    keeps_none = Skipped("keeps no languages in memory: each switch reads a file")
    rows = [refusal(MEMORY.name, REFERENCE, keeps_none)]
    runs = [(REFERENCE, REFERENCE, DISK)]
    # All our precisions switch alike: the first one stands for them.
    ours = list(filter(is_ours, context.options.peers))[:1]
    runs += [("ours", peer, case) for peer in ours for case in (MEMORY, DISK)]
    entries: list[Entry] = []
    with contextlib.ExitStack() as stack:
        for name, peer, case in runs:
            setup = replace(context.setup, one_language=case is DISK)
            try:
                worker, seconds = stack.enter_context(context.loaded(peer, setup))
                row = Row(case=case.name, implementation=name, load_seconds=seconds)
                entries.append(context.first_call(worker, Switch(languages), row))
            except NotMeasured as reason:
                rows.append(refusal(case.name, name, reason))
        return context.race(entries) + rows


def measure_cold(context: Context) -> list[Row]:
    """Race commands; the first run of each must print something."""
    rows: list[Row] = []
    first: dict[str, Row] = {}
    runners: list[Runner] = []
    threads = context.setup.threads
    for name, make in (("mms transcribe", _transcribe), ("mms --help", _help)):
        try:
            argv = make(context)
            outcome = commands.run(argv, threads=threads, watch=True)
            if not outcome.stdout.strip():
                raise Failed("it printed nothing")
        except NotMeasured as reason:
            rows.append(refusal(COLD.name, name, reason))
            continue
        runners.append(Runner(name, repeat_call(_once(argv, threads))))
        row = Row(case=COLD.name, implementation=name, first_seconds=outcome.seconds)
        first[name] = replace(row, peak_memory=outcome.peak_memory)
    found = race(runners, context.options.pace, context.tell)
    return [timed_row(first[name], samples) for name, samples in found.items()] + rows


def _once(argv: tuple[str, ...], threads: int) -> Callable[[], float]:
    return lambda: commands.run(argv, threads=threads, watch=False).seconds


def _help(_: Context) -> tuple[str, ...]:
    return (commands.script("mms"), "--help")


def _transcribe(context: Context) -> tuple[str, ...]:
    from mms_engine.bundle import open_bundle

    bundle, clip = context.options.demo_bundle, str(context.options.audio[0])
    if not bundle.is_dir():
        raise Skipped("there is no demo bundle: make it with mms-export --model demo")
    language = open_bundle(bundle, verify=False).languages[0]
    given = ("--bundle", str(bundle), "--lang", language, "--device", context.setup.device)
    return (commands.script("mms"), "transcribe", clip, *given, "--format", "json")


SUITE = Suite(
    name="asr",
    peers=tuple(RECOGNISERS),
    on_request=("ours-fp16", "ours-bf16"),  # half precision on a CPU is emulated
    on_cuda=ON_CUDA,
    parts=(
        Part("clip", (CLIP,), measure_clip),
        Part("batch", (BATCH, MIXED), measure_batch),
        Part("switch", (MEMORY, DISK), measure_switch),
        Part("cold", (COLD,), measure_cold),
    ),
    min_samples=5,
    warmup=2.0,
    languages=8,
    settings=("device", "clip", "batch", "threads", "languages", "audio", "pace"),
)
