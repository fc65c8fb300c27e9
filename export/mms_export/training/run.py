"""A training from the report of a corpus to the folder of an adapter; a killed one continues."""

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from mms_engine.bundle.files import partial_token, partials
from mms_engine.errors import MmsError
from mms_export.bundle.contents import check_free
from mms_export.bundle.workspace import locked
from mms_export.checkpoints.documents import read_json
from mms_export.checkpoints.languages import sidecar_path
from mms_export.training.addition import add_to_bundle, check_bundle
from mms_export.training.corpus.audio import read_clips
from mms_export.training.device import Device, FrozenBase, Place, Precision, choose_place
from mms_export.training.features import FeatureCache
from mms_export.training.folder import Sidecar, check_folder, write_folder
from mms_export.training.report import Example, Report
from mms_export.training.start import FRESH, NEAREST, first_values, open_base
from mms_export.training.trainer import FRAME_RATE, Evaluation, Trainer, TrainingOptions, Utterance
from mms_export.training.vocabulary import encode

WORK = ".training"
"""Folder of the state and the features, in that of the adapter, until the training has ended."""
SAVE_SECONDS = 60.0
MEASURED_SECONDS = 180.0
"""Speech of the evaluations on the way; the last one is of all that is held out."""
_TOKEN = "training"  # noqa: S105 - part of the names of unfinished files


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """Subject, place and course of a training."""

    base: str
    """Base model, as for `open_checkpoint`."""
    out: Path
    """Folder of the adapter."""
    bundle: Path | None = None
    """Bundle of the base model to which the language is added."""
    start: str = NEAREST
    """Language to start from, `nearest` or `fresh`."""
    device: Device = "auto"
    precision: Precision | None = None
    """Number format; `None` for the best of the device."""
    replace: bool = False
    """Whether to replace an adapter, or an unfinished training, of other recordings or options."""
    options: TrainingOptions = field(default_factory=TrainingOptions)


class TrainingDisplay(Protocol):
    """Display of the updates."""

    def on_step(self, loss: float) -> object:
        """Take in the loss of an update."""
        ...

    def on_evaluation(self, found: Evaluation) -> object:
        """Take in an evaluation."""
        ...


class Progress(Protocol):
    """Display of a training's progress."""

    def step(
        self, label: str, total: int = 0, unit: str = "B"
    ) -> AbstractContextManager[Callable[[int], object]]:
        """Show one step and yield its progress callback."""
        ...

    def updates(
        self, steps: int, history: Sequence[Evaluation], done: int
    ) -> AbstractContextManager[TrainingDisplay]:
        """Show the updates, of which some were done before."""
        ...

    def warn(self, sentence: str) -> None:
        """Show a warning."""
        ...


def train(report: Report, request: TrainRequest, progress: Progress) -> Sidecar:
    """Train a language on a corpus, write its folder, and add it to a bundle.

    A training that has ended is not repeated.

    Args:
        report: Examination of the corpus.
        request: What to train.
        progress: Display.

    Raises:
        MmsError: the corpus, the base model or the bundle does not serve, the folder holds
            something else, or the training came to nothing.
    """
    if report.faults:
        raise MmsError("; ".join(report.faults))
    place = choose_place(request.device, request.precision)
    with locked(request.out), partial_token(_TOKEN):
        for folder in (request.out, request.out / WORK):
            for leftover in partials(folder, _TOKEN):
                leftover.unlink(missing_ok=True)
        sidecar = _Training(report, request, place, progress).run()
    if request.bundle:
        add_to_bundle(request.bundle, request.out, report.language, progress)
    return sidecar


class _Training:
    def __init__(
        self, report: Report, request: TrainRequest, place: Place, progress: Progress
    ) -> None:
        self._report, self._request = report, request
        self._place, self._progress = place, progress
        vocabulary = report.vocabulary
        counts: Counter[str] = Counter()
        for example in report.train:
            counts.update(vocabulary.tokens[i] for i in encode(example.text, vocabulary))
        self._checkpoint, self._start = open_base(
            request.base, report.language, request.start, counts
        )
        with progress.step("reading the base model"):
            self._fingerprint = self._checkpoint.fingerprint(self._checkpoint.digests())
        if request.bundle:
            check_bundle(request.bundle, self._fingerprint, request.base)
        self._identity = self._digest()
        self._work = request.out / WORK
        self._state = self._work / f"{self._identity[:16]}.pt"

    def run(self) -> Sidecar:
        done = self._finished()
        if done is not None:
            shutil.rmtree(self._work, ignore_errors=True)  # killed before it was removed
            return done
        self._work.mkdir(exist_ok=True)
        base = FrozenBase(self._checkpoint, self._place)
        train, held_out = self._utterances(base)
        base.drop_convolutions()
        trainer = self._trainer(base)
        self._train(trainer, train, held_out)
        sidecar = self._result(trainer, held_out)
        tensors = trainer.state.best
        write_folder(self._request.out, self._checkpoint, self._report.vocabulary, tensors, sidecar)
        shutil.rmtree(self._work)
        return sidecar

    def _digest(self) -> str:
        """Return the identity of everything that the result depends on."""

        def described(example: Example) -> list[object]:
            clip, status = example.clip, example.clip.audio.stat()
            file = [str(clip.audio.absolute()), status.st_size, status.st_mtime_ns]
            return [*file, clip.start, clip.end, example.text]

        report = self._report
        document = {
            "base": self._fingerprint,
            "language": report.language,
            "start": self._start,
            "precision": self._place.precision,
            "options": asdict(self._request.options),
            "vocabulary": report.vocabulary.tokens,
            "train": list(map(described, report.train)),
            "held out": list(map(described, report.held_out)),
        }
        return hashlib.sha256(json.dumps(document).encode()).hexdigest()

    def _finished(self) -> Sidecar | None:
        """Return the result of the same training; refuse another, or remove its state.

        Raises:
            MmsError: the folder holds another training that is not to be replaced.
        """
        out, may_replace = self._request.out, self._request.replace
        adapter = out / f"adapter.{self._report.language}.safetensors"
        path = sidecar_path(adapter)
        if adapter.exists() and path.is_file():
            document = read_json(path)
            if document.get("identity") == self._identity:
                return Sidecar(**document)
        check_folder(out, self._report.language)
        others = [path for path in self._work.glob("*.pt") if path != self._state]
        if (adapter.exists() or others) and not may_replace:
            what = adapter if adapter.exists() else f"an unfinished training in {out}"
            raise MmsError(
                f"{what} is there already, of other recordings, texts or options: choose another "
                "--out, or give --replace"
            )
        for other in others:
            other.unlink()
        return None

    def _utterances(self, base: FrozenBase) -> tuple[list[Utterance], list[Utterance]]:
        """Return the clips of both sides, whose features are computed where they are missing."""
        report = self._report
        cache = FeatureCache(self._work / "features", base.network, self._fingerprint)
        clips = [example.clip for example in (*report.train, *report.held_out)]
        missing = cache.missing(clips)
        channels = self._checkpoint.config.conv_dim[-1]
        needed = round(report.seconds * FRAME_RATE * 2 * channels)
        check_free(self._work, needed, "the training")
        with self._progress.step("features", len(missing), "clip") as advance:
            for clip, samples in read_clips(missing):
                cache.add(clip, samples)
                advance(1)

        def utterance(example: Example) -> Utterance:
            tokens = tuple(encode(example.text, report.vocabulary))
            read = partial(cache.read, example.clip)
            return Utterance(read, len(read()), example.text, tokens)

        return [*map(utterance, report.train)], [*map(utterance, report.held_out)]

    def _trainer(self, base: FrozenBase) -> Trainer:
        options, vocabulary = self._request.options, self._report.vocabulary
        tensors = first_values(self._checkpoint, self._start, vocabulary.tokens, seed=options.seed)
        trainer = Trainer(base, self._place, options, vocabulary, tensors)
        if self._state.exists():
            trainer.resume(self._state)
        return trainer

    def _train(
        self, trainer: Trainer, train: Sequence[Utterance], held_out: Sequence[Utterance]
    ) -> None:
        state, steps = trainer.state, self._request.options.steps
        measured = list(_drawn(held_out, MEASURED_SECONDS))
        saved = time.monotonic()

        def save() -> None:
            nonlocal saved
            trainer.save(self._state)
            saved = time.monotonic()

        with self._progress.updates(steps, state.history, state.step) as shown:

            def on_step(loss: float) -> None:
                shown.on_step(loss)
                if time.monotonic() - saved > SAVE_SECONDS:
                    save()

            def on_evaluation(found: Evaluation) -> None:
                save()
                shown.on_evaluation(found)

            trainer.run(train, measured, on_step, on_evaluation)

    def _result(self, trainer: Trainer, held_out: Sequence[Utterance]) -> Sidecar:
        """Return what is to be known of the best adapter, measured on all that is held out.

        Raises:
            MmsError: it writes nothing.
        """
        best = trainer.state.best_evaluation
        if best is None or best.is_blank:
            raise MmsError(
                f"after {trainer.state.step} updates the model still writes nothing. That is how "
                "every training begins; give more --steps or a higher --rate, and --replace. If it "
                "stays so, look at the texts with --check"
            )
        found = trainer.evaluate_best(held_out)
        report, checkpoint = self._report, self._checkpoint
        return Sidecar(
            language=report.language,
            base=checkpoint.name,
            base_sha256=self._fingerprint,
            licence=checkpoint.licence,
            start="" if self._start == FRESH else self._start,
            train_minutes=_minutes(report.train),
            train_clips=len(report.train),
            train_speakers=_speakers(report.train),
            held_out_minutes=_minutes(report.held_out),
            held_out_clips=len(report.held_out),
            held_out_speakers=_speakers(report.held_out),
            held_out_cer=round(found.cer, 4),
            held_out_wer=round(found.wer, 4),
            step=best.step,
            options=asdict(self._request.options),
            history=[asdict(evaluation) for evaluation in trainer.state.history],
            identity=self._identity,
        )


def _drawn(clips: Sequence[Utterance], seconds: float) -> Iterator[Utterance]:
    """Yield clips evenly spread over all, of about so many seconds together."""
    total = sum(clip.frames for clip in clips) / FRAME_RATE
    share = min(1.0, seconds / total)
    for index, clip in enumerate(clips):
        if int((index + 1) * share) > int(index * share):
            yield clip


def _minutes(examples: Sequence[Example]) -> float:
    return round(sum(example.seconds for example in examples) / 60, 2)


def _speakers(examples: Sequence[Example]) -> int:
    return len({example.clip.speaker for example in examples} - {""})
