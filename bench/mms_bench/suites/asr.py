"""Suite `asr`: speed on a clip and on batches, language switching, cold start."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from mms_bench.errors import Failed, Skipped
from mms_bench.peers import MACHINE, ON_CUDA, RECOGNISERS, REFERENCE, is_ours
from mms_bench.peers.base import Batch, Switch
from mms_bench.peers.machine import BYTES, SIZE, WORK
from mms_bench.roofline.model import Load, blocks
from mms_bench.run import commands
from mms_bench.run.audio import clips
from mms_bench.run.check import compare
from mms_bench.run.context import Context, Trial, race_commands
from mms_bench.run.race import Pace
from mms_bench.run.result import Case, Figure, Row
from mms_bench.run.suite import Part, Suite
from mms_bench.run.worker import Worker
from mms_engine.audio import SAMPLE_RATE
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.system import demo_bundle
from mms_engine.types import Float32Array
from mms_export.checkpoints.open import open_checkpoint

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
    figures=(Figure("share", "share of the peak", "share"),),
    baseline=REFERENCE,
)
PEAKS = Case(
    name="peaks",
    title="Bounds of the machine",
    timing=(
        f"Timed in turns with the clip: a product of two matrices {SIZE} by {SIZE}, the faster of "
        "ONNX Runtime's and torch's, of which each recogniser reaches a share; the sum over "
        f"{BYTES >> 20} MiB of memory."
    ),
    unit="operations or bytes",
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
_NEEDS_TWO = Skipped("needs two languages: name more with --languages")


def measure_clip(context: Context) -> list[Row]:
    """Race all peers whose logits agree with the reference's."""
    return context.measure(_clip_trials(context))


def measure_clip_and_peaks(context: Context) -> list[Row]:
    """Race the peers; on a CPU beside the machine's own products, of which they reach a share."""
    trials = _clip_trials(context)
    if context.options.device == "cpu":
        machine = Trial(case=PEAKS.name, peer=MACHINE, work=None)
        trials[:0] = [
            replace(machine, name=name, work=name, amount=amount) for name, amount in WORK.items()
        ]
    rows = context.measure(trials)
    peaks = {row.implementation: row for row in rows if row.case == PEAKS.name}
    work = _operations(context)
    return [_with_share(row, work, peaks) if row.case == CLIP.name else row for row in rows]


def _clip_trials(context: Context) -> list[Trial]:
    """Return the peers' trials, the reference first."""
    batch = _batch(context, context.options.languages[:1])
    reference: list[Logits] = []

    def check(worker: Worker, row: Row, logits: Logits) -> Row:
        if row.implementation == REFERENCE:
            reference.append(logits)
            return row
        if not reference:
            raise Skipped(f"{REFERENCE}, the reference, has no result to check against")
        return _checked(row, logits, reference[0], worker.precision)

    # The reference first, and this project's, while there is memory.
    peers = sorted(context.options.peers, key=lambda peer: (peer != REFERENCE, not is_ours(peer)))
    seconds = context.options.seconds
    return [Trial(case=CLIP.name, peer=p, work=batch, amount=seconds, check=check) for p in peers]


def _with_share(row: Row, work: float, peaks: Mapping[str, Row]) -> Row:
    """Return a row with its share of the machine's product in its precision."""
    last = row.implementation.rpartition("-")[2]
    peak = peaks.get(last if last in WORK else "fp32")
    if row.summary is None or peak is None or peak.summary is None:
        return row
    rate = peak.amount / peak.summary.median
    return replace(row, figures={"share": work / row.summary.median / rate})


def _operations(context: Context) -> float:
    """Return the operations of a clip's matrix products and convolutions."""
    sizes = cast("Wav2Vec2Ctc", open_checkpoint(str(context.options.checkpoint)).config)
    frames = FrameGeometry.of(sizes).frames(round(context.options.seconds * SAMPLE_RATE))
    work = blocks(sizes, Load(rows=1, frames=frames))
    return sum(block.products * block.repeats for block in work)


def _batch(context: Context, languages: tuple[str, ...]) -> Batch:
    return Batch(clips(context.options.audio, context.options.seconds, len(languages)), languages)


def _checked(row: Row, logits: Logits, reference: Logits, precision: str) -> Row:
    """Return the row with its check, and the status `failed` if it did not pass."""
    found = compare(logits, reference, precision)
    row = replace(row, check=found)
    if found.passed:
        return row
    reason = (
        f"wrong: {found.argmax_agreement:.2%} of {found.frames} frames agree with the "
        f"reference, the largest difference is {found.max_abs_error:.2g}"
    )
    return row.refused(Failed(reason))


def measure_batch(context: Context) -> list[Row]:
    """Race a batch in one language against a mixed one, each of our peers in its own process."""
    languages, count = context.options.languages, context.options.batch
    batches = {
        BATCH.name: _batch(context, languages[:1] * count),
        MIXED.name: _batch(context, (languages * count)[:count]),
    }
    references: dict[str, Logits] = {}

    def check(worker: Worker, row: Row, logits: Logits) -> Row:
        if not references:
            references.update(_references(context, batches))
        return _checked(row, [logits[0], logits[-1]], references[row.case], worker.precision)

    single = Skipped("holds one language: a batch cannot be mixed")
    amount = count * context.options.seconds
    rows: list[Row] = []
    for peer in context.options.peers:
        if not is_ours(peer):
            rows.append(Row(case=MIXED.name, implementation=peer).refused(single))
        elif len(languages) < 2:
            two = (Row(case=case, implementation=peer) for case in batches)
            rows += [row.refused(_NEEDS_TWO) for row in two]
        else:
            trial = Trial(case="", peer=peer, work=None, amount=amount, check=check)
            rows += context.measure(
                [replace(trial, case=case, work=batch) for case, batch in batches.items()]
            )
    return rows


def _references(context: Context, batches: dict[str, Batch]) -> dict[str, Logits]:
    """Return the reference's logits of the first and the last row of each batch."""
    with context.loaded(REFERENCE) as worker:
        return {
            case: [
                worker.first(Batch(batch.audio[row], batch.languages[row])).result[0]
                for row in (slice(0, 1), slice(-1, None))
            ]
            for case, batch in batches.items()
        }


def measure_switch(context: Context) -> list[Row]:
    """Race the reference's `load_adapter` against the engine's bank."""
    languages = context.options.languages
    reference = Row(case=DISK.name, implementation=REFERENCE)
    if len(languages) < 2:
        return [replace(reference, case=case.name).refused(_NEEDS_TWO) for case in (MEMORY, DISK)]
    keeps_none = Skipped("keeps no languages in memory: each switch reads a file")
    work, disk = Switch(languages), replace(context.options, one_language=True)
    trials = [Trial(case=DISK.name, peer=REFERENCE, work=work)]
    # All our precisions switch alike: the first one stands for them.
    for peer in list(filter(is_ours, context.options.peers))[:1]:
        trials += [
            Trial(case=MEMORY.name, peer=peer, name="ours", work=work),
            Trial(case=DISK.name, peer=peer, name="ours", work=work, setup=disk),
        ]
    return [*context.measure(trials), replace(reference, case=MEMORY.name).refused(keeps_none)]


def measure_cold(context: Context) -> list[Row]:
    """Race commands; the first run of each must print something."""

    def check(_: str, first: commands.Outcome) -> None:
        if not first.stdout.strip():
            raise Failed("it printed nothing")

    makers = {
        "mms transcribe": lambda: (commands.script("mms"), *_transcribe(context)),
        "mms --help": lambda: (commands.script("mms"), "--help"),
    }
    return race_commands(context, COLD.name, makers, check)


def _transcribe(context: Context) -> tuple[str, ...]:
    from mms_engine.bundle import open_bundle

    bundle, clip = demo_bundle(), str(context.options.audio[0])
    if not bundle.is_dir():
        raise Skipped("there is no demo bundle: make it with mms-export --model demo")
    language = open_bundle(bundle, verify=False).languages[0]
    given = ("--bundle", str(bundle), "--lang", language, "--device", context.options.device)
    return ("transcribe", clip, *given, "--format", "json")


SUITE = Suite(
    name="asr",
    peers=tuple(RECOGNISERS),
    on_request=("ours-fp16", "ours-bf16"),  # half precision on a CPU is emulated
    on_cuda=ON_CUDA,
    parts=(
        Part("clip", (CLIP, PEAKS), measure_clip_and_peaks),
        Part("batch", (BATCH, MIXED), measure_batch),
        Part("switch", (MEMORY, DISK), measure_switch),
        Part("cold", (COLD,), measure_cold),
    ),
    pace=Pace(),
    languages=8,
)
