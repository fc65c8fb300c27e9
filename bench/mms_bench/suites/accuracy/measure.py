"""Error rates of each system on the same clips, by language and as the mean of the languages."""

import hashlib
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mms_bench.errors import BenchError, NotMeasured, Skipped
from mms_bench.peers import REFERENCE, is_ours
from mms_bench.peers.transcribers import Speech
from mms_bench.roofline.model import Load, blocks
from mms_bench.run.context import Context, RunOptions
from mms_bench.run.result import Case, Figure, Model, Row
from mms_bench.run.subject import Subject
from mms_bench.run.worker import Worker
from mms_bench.suites.accuracy.corpora import Choice, Clip, read_clips, read_corpus
from mms_bench.suites.accuracy.journal import Journal
from mms_bench.suites.accuracy.rates import (
    Interval,
    Reading,
    Unit,
    as_figures,
    error_rate,
    mean_rate,
    plain,
    whisper,
)
from mms_engine.audio import SAMPLE_RATE
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.decoding.language_models import language_model_files
from mms_engine.errors import AudioError
from mms_engine.types import Audio
from mms_export.checkpoints.open import open_checkpoint

ERRORS = Case(
    name="errors",
    title="Error rates",
    timing=(
        "Edits over units of the references, pooled over the clips of a language; in parentheses "
        "the 95 % interval of 1,000 bootstrap resamples of its speakers (or of its sentences, "
        "where the corpus names no speakers). CER counts spaces. *Plain* is the normalisation of "
        "`mms transcribe --reference`: NFC, lower case, no punctuation but apostrophes and "
        "hyphens. *Whisper's* is that of transformers: its English rules without the table of "
        "British spellings, its basic rules for other languages."
    ),
    figures=(
        Figure("clips", "clips", "number"),
        Figure("minutes", "minutes", "number"),
        Figure("wer", "WER", "share", interval=True),
        Figure("cer", "CER", "share", interval=True),
        Figure("wer_whisper", "WER, Whisper's", "share", interval=True),
        Figure("cer_whisper", "CER, Whisper's", "share", interval=True),
        Figure("unreadable", "unreadable", "number"),
    ),
    bars="cer",
    groups="language",
)
MEAN = "mean"
_RATES: tuple[tuple[str, Unit], ...] = (("wer", "word"), ("cer", "character"))
_CALL = 16
"""Clips of a call; the journal is written after each."""
_FULL_SIZE_PARAMETERS = 950_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A peer with its model and its language models."""

    name: str
    peer: str
    bundle: Bundle | None
    lm: Path | None = None
    """Folder of language models."""


@dataclass(slots=True)
class Heard:
    """Transcripts of a system in one language."""

    readings: list[Reading]
    seconds: float = 0.0
    unreadable: int = 0


def accuracy_subject(options: RunOptions, _: int | None) -> Subject:
    """Return the models of the options, and the languages that they share with the corpora.

    Raises:
        MmsError: a bundle or a corpus cannot be read, or they share no language.
    """
    bundles = _bundles(options)
    clips = _clips(options, bundles)
    first = bundles[0].model(Wav2Vec2Ctc)
    load = Load(rows=1, frames=1, vocab=1, itemsize=1)
    parameters = int(sum(block.repeats * block.weights for block in blocks(first, load)))
    corpus = options.corpus
    limit = f", at most {corpus.limit} a language" if corpus.limit else ""
    return Subject(
        languages=tuple(dict.fromkeys(clip.language for clip in clips)),
        model=Model(
            name=", ".join(bundle.manifest.source.name for bundle in bundles),
            parameters=parameters,
            languages=len(bundles[0].languages),
            full_size=parameters >= _FULL_SIZE_PARAMETERS,
        ),
        settings={
            "data": ", ".join(map(_short, _data(options))),
            "split": corpus.split,
            "clips": f"{len(clips)}{limit}",
        },
    )


def measure_errors(context: Context) -> list[Row]:
    """Transcribe the clips with every system; a system that fails has its reason as its row."""
    bundles = _bundles(context.options)
    clips = _clips(context.options, bundles)
    rows: list[Row] = []
    for system in _systems(context.options, bundles):
        row = Row(case=ERRORS.name, implementation=system.name)
        try:
            rows += _measure_system(context, system, clips, row)
        except NotMeasured as reason:
            rows.append(row.refused(reason))
    return rows


def _bundles(options: RunOptions) -> list[Bundle]:
    paths = options.corpus.models or ((options.bundle,) if options.bundle else ())
    if not paths:
        raise BenchError("no bundle: name some with --models, or make one: mms-export --model demo")
    return [open_bundle(path, verify=False) for path in paths]


def _data(options: RunOptions) -> tuple[str, ...]:
    return options.corpus.data or (str(options.recordings),)


def _clips(options: RunOptions, bundles: Sequence[Bundle]) -> list[Clip]:
    known = {language for bundle in bundles for language in bundle.languages}
    choice = Choice(
        split=options.corpus.split,
        known=known,
        languages=options.languages,
        limit=options.corpus.limit,
    )
    clips = [clip for data in _data(options) for clip in read_corpus(data, choice)]
    return sorted(clips, key=lambda clip: clip.language)  # stable: archives keep their order


def _systems(options: RunOptions, bundles: Sequence[Bundle]) -> Iterator[System]:
    several = len(bundles) > 1
    for peer in options.peers:
        if not is_ours(peer):
            yield System(name=peer, peer=peer, bundle=None)
            continue
        for bundle in bundles:
            name = f"{peer}, {bundle.path.name}" if several else peer
            yield System(name=name, peer=peer, bundle=bundle)
            if options.corpus.lm is not None:
                lm = options.corpus.lm
                yield System(name=f"{name}, beam with LM", peer=peer, bundle=bundle, lm=lm)


def _measure_system(
    context: Context, system: System, clips: Sequence[Clip], row: Row
) -> Iterator[Row]:
    """Yield a row for each language, and one for their mean.

    Raises:
        NotMeasured: the system does not run.
    """
    languages = _languages(context, system, clips)
    setup = replace(
        context.options,
        bundle=None if system.bundle is None else system.bundle.path,
        languages=tuple(languages),
    )
    found: list[Heard] = []
    with context.loaded(system.peer, setup) as worker:
        journal = _journal(context, system, worker)
        if len(journal):
            context.tell(f"{system.name}: {len(journal)} transcripts of an earlier run are kept")
        for language in languages:
            own = [clip for clip in clips if clip.language == language]
            mine = replace(row, series=language)
            try:
                lm = None if system.lm is None else _language_model(system.lm, language)
                heard = _transcribe(context, worker, journal, own, lm)
            except Skipped as reason:
                yield mine.refused(reason)
                continue
            found.append(heard)
            yield replace(mine, figures=_figures(heard))
            context.tell(f"{system.name}: {language}: {len(own)} clips")
    if len(found) > 1:
        yield replace(row, series=MEAN, figures=_mean_figures(found))


def _languages(context: Context, system: System, clips: Sequence[Clip]) -> list[str]:
    """Return the languages of the clips that a system has.

    Raises:
        Skipped: it has none of them, or is not of one of the models.
    """
    languages = list(dict.fromkeys(clip.language for clip in clips))
    if system.bundle is not None:
        languages = [language for language in languages if language in system.bundle.languages]
    elif system.peer == REFERENCE:
        checkpoint = open_checkpoint(str(context.options.checkpoint))
        print_of = checkpoint.fingerprint(checkpoint.digests())
        bundles = _bundles(context.options)
        if all(bundle.manifest.source.fingerprint != print_of for bundle in bundles):
            raise Skipped("no model was exported from its checkpoint: name that with --checkpoint")
        languages = [language for language in languages if language in checkpoint.adapters]
    if not languages:
        raise Skipped("has none of the languages of the clips")
    return languages


def _journal(context: Context, system: System, worker: Worker) -> Journal:
    options = context.options
    identity = {
        "system": system.name,
        "versions": repr(sorted(worker.versions.items())),
        "device": f"{options.device} {options.backend}",
    }
    if system.bundle is not None:
        manifest = (system.bundle.path / "manifest.json").read_bytes()
        identity["bundle"] = hashlib.sha256(manifest).hexdigest()
    elif system.peer == REFERENCE:
        identity["checkpoint"] = str(options.checkpoint)
    else:
        identity["model"] = options.whisper
    if system.lm is not None:
        files = sorted(path for path in system.lm.iterdir() if path.is_file())
        digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
        identity["lm"] = " ".join(digests)
    return Journal(options.cache / "accuracy", identity, resume=options.corpus.resume)


def _language_model(folder: Path, language: str) -> Path:
    path = language_model_files(folder).get(language)
    if path is None:
        raise Skipped(f"{folder.name} has no language model of {language}")
    return path


def _transcribe(
    context: Context,
    worker: Worker,
    journal: Journal,
    clips: Sequence[Clip],
    lm: Path | None,
) -> Heard:
    heard = Heard([])
    for group in _groups(clips):
        good = [(clip, audio) for clip, audio in group if isinstance(audio, Audio)]
        for clip, audio in group:
            if not isinstance(audio, Audio):
                heard.unreadable += 1
                context.tell(f"{clip.name}: {audio}")
        texts = _texts(worker, journal, good, lm)
        for (clip, audio), text in zip(good, texts, strict=True):
            heard.seconds += len(audio.samples) / SAMPLE_RATE
            heard.readings.append(
                Reading(
                    language=clip.language, group=clip.group, reference=clip.text, hypothesis=text
                )
            )
    return heard


def _groups(clips: Sequence[Clip]) -> Iterator[list[tuple[Clip, Audio | AudioError]]]:
    pending = read_clips(clips)
    while group := list(itertools.islice(pending, _CALL)):
        yield group


def _texts(
    worker: Worker, journal: Journal, clips: Iterable[tuple[Clip, Audio]], lm: Path | None
) -> list[str]:
    """Return the transcripts of clips in one language, those of the journal as they are."""
    keyed = [(journal.key(audio.samples, clip.language), clip, audio) for clip, audio in clips]
    missing = {key: (clip, audio) for key, clip, audio in keyed if journal.get(key) is None}
    if missing:
        language = next(clip.language for clip, _ in missing.values())
        speech = Speech(tuple(audio.samples for _, audio in missing.values()), language, lm)
        found = worker.first(speech).result
        journal.add(dict(zip(missing, found, strict=True)))
    return [journal.get(key) or "" for key, _, _ in keyed]


def _figures(heard: Heard) -> dict[str, float]:
    rates: dict[str, Interval | None] = {}
    for suffix, normalize in _normalizers():
        for name, unit in _RATES:
            rates[f"{name}{suffix}"] = error_rate(heard.readings, unit, normalize)
    return _counts([heard]) | as_figures(rates)


def _mean_figures(found: Sequence[Heard]) -> dict[str, float]:
    readings = [heard.readings for heard in found]
    rates: dict[str, Interval | None] = {}
    for suffix, normalize in _normalizers():
        for name, unit in _RATES:
            rates[f"{name}{suffix}"] = mean_rate(readings, unit, normalize)
    return _counts(found) | as_figures(rates)


def _counts(found: Sequence[Heard]) -> dict[str, float]:
    counts = {
        "clips": float(sum(len(heard.readings) for heard in found)),
        "minutes": sum(heard.seconds for heard in found) / 60,
    }
    unreadable = sum(heard.unreadable for heard in found)
    return counts | ({"unreadable": float(unreadable)} if unreadable else {})


def _normalizers() -> list[tuple[str, Callable[[str, str], str]]]:
    """Return the normalisations by the suffix of their figures; Whisper's needs transformers."""
    has_transformers = importlib.util.find_spec("transformers") is not None
    return [("", plain), *([("_whisper", whisper)] if has_transformers else [])]


def _short(data: str) -> str:
    """Return a corpus without the folders that lead to it: results are published."""
    kind, colon, where = data.rpartition(":")
    return f"{kind}{colon}{Path(where).name}"
