"""Offline encoding: utterances to windows, windows to batches, and each batch to a sink."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mms_engine.audio import Normalization, statistics
from mms_engine.audio.running_norm import (
    BlockNormalization,
    NormalizationOptions,
    running_statistics,
)
from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.encoder.batches import BatchLimits, WindowRow, plan_batches
from mms_engine.encoder.emission import Emission, Segment
from mms_engine.encoder.model import AcousticModel
from mms_engine.encoder.prefetch import Prefetch
from mms_engine.encoder.windows import Window, WindowOptions, next_window, plan_windows
from mms_engine.errors import BundleError, LanguageError, MmsError
from mms_engine.types import Audio, Float32Array

Progress = Callable[[float], None]
"""Called with the seconds of audio finished since the last call."""

_FULL_WINDOWS = {"cpu": 1, "cuda": 16}
_NO_LIMIT = 1 << 30


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class OfflineUtterance:
    """Audio to encode as a whole."""

    audio: Audio
    normalization: Normalization | BlockNormalization
    """Statistics of the whole audio, or of its blocks: those of a window would differ."""
    language: str


class Sink(Protocol):
    """Consumer of logits. Rows of one utterance arrive in order of time."""

    def take(self, rows: Sequence[WindowRow], emission: Emission) -> None:
        """Take a batch: row i of the emission is the window `rows[i]`.

        Frames of a window outside `window.kept` are context.
        """
        ...


class PooledSink:
    """Sink that collects one score vector per window, of a model that pools over time."""

    def __init__(self) -> None:
        self._parts: dict[int, list[tuple[int, Float32Array]]] = {}

    def take(self, rows: Sequence[WindowRow], emission: Emission) -> None:
        """Keep the scores of a batch, of emissions of one frame per row; see `Sink.take`."""
        for row, scores in zip(rows, emission.rows(), strict=True):
            kept = row.window.keep_end - row.window.keep_start
            self._parts.setdefault(row.utterance, []).append((kept, scores[0]))

    def pop(self, utterance: int) -> list[tuple[int, Float32Array]]:
        """Return the kept frames and the scores `[C]` of each window, and forget them."""
        return self._parts.pop(utterance, [])


class _Logits:
    """Sink that keeps the logits of a batch, in host memory, for another sink."""

    def __init__(self) -> None:
        self._taken: list[tuple[Sequence[WindowRow], Emission]] = []

    def take(self, rows: Sequence[WindowRow], emission: Emission) -> None:
        """Keep a batch; see `Sink.take`."""
        self._taken.append((rows, emission))

    def pass_on(self, sink: Sink) -> None:
        """Pass what was taken to another sink."""
        for rows, emission in self._taken:
            sink.take(rows, emission)


class OfflineEncoder:
    """Windows, batches and runs of whole utterances, for any task."""

    def __init__(
        self,
        model: AcousticModel,
        windows: WindowOptions,
        batch_frames: int = 0,
        normalization: NormalizationOptions | None = None,
        runs: int = 1,
    ) -> None:
        """Use a model.

        Args:
            model: Loaded.
            windows: Sizes of the windows of long audio.
            batch_frames: Frames of one run, padding included; 0 for the device's default.
            normalization: Running statistics; `None` for those of the whole utterance.
            runs: Runs at once, on a CPU; they share the default of `batch_frames`.
        """
        self._model = model
        self._runs = runs if model.device == "cpu" else 1
        if self._languages is not None:
            self._runs = min(self._runs, self._languages)  # no run waits for the room of another
        self._windows = windows
        self._normalization = normalization
        full = (windows.seconds + 2 * windows.context_seconds) / model.frame_seconds
        self._batch_frames = batch_frames or _FULL_WINDOWS[model.device] * round(full) // self._runs

    @property
    def _languages(self) -> int | None:
        """Languages that fit in the bank, which may shrink; `None` if all do."""
        bank = self._model.bank
        few = bank is not None and bank.at_once < len(self._model.bundle.languages)
        return bank.at_once if bank is not None and few else None

    def utterance(self, audio: Audio, language: str) -> OfflineUtterance:
        """Return an utterance, normalised if the model expects that."""
        return OfflineUtterance(audio, self._statistics(audio), language)

    def _statistics(self, audio: Audio) -> Normalization | BlockNormalization:
        model = self._model.bundle.model(Wav2Vec2)
        if not model.normalize:
            return Normalization(0.0, 1.0)
        if self._normalization is None:
            return statistics(audio.samples, model.normalize_epsilon)
        return running_statistics(
            audio.samples, self._normalization, audio.sample_rate, model.normalize_epsilon
        )

    def run(
        self,
        utterances: Sequence[OfflineUtterance],
        sink: Sink,
        progress: Progress | None = None,
    ) -> Iterator[list[tuple[int, MmsError | None]]]:
        """Encode utterances and pass their logits to `sink`.

        Yields:
            After each batch, the indices of the utterances that are complete, each with `None`, or
            with the error of its language's adapter.

        Raises:
            BackendError: the device failed.
        """
        state = _Progress([self.rows(i, u) for i, u in enumerate(utterances)])
        yield state.take_complete()
        batches = plan_batches(state.rows, self.limits)
        if self._runs > 1:
            yield from self._run_beside(utterances, batches, state, sink, progress)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="mms-prefetch") as loader:
            for number, batch in enumerate(batches):
                following = batches[number + 1] if number + 1 < len(batches) else []
                ahead = Prefetch(self._model, loader, {row.language for row in following})
                remaining = [row for row in batch if row.utterance not in state.errors]
                state.errors.update(self.run_batch(utterances, remaining, sink, ahead.start))
                state.count(remaining)
                ahead.wait()
                if progress is not None:
                    progress(_kept(batch) * self._model.frame_seconds)
                yield state.take_complete()

    def _run_beside(
        self,
        utterances: Sequence[OfflineUtterance],
        batches: Sequence[list[WindowRow]],
        state: "_Progress",
        sink: Sink,
        progress: Progress | None,
    ) -> Iterator[list[tuple[int, MmsError | None]]]:
        """Run several batches at once, and pass their logits to `sink` in the order of `batches`.

        The longest go first: the last ones leave cores idle for a short time only.
        """

        def encode(batch: list[WindowRow]) -> tuple[_Logits, dict[int, MmsError]]:
            logits = _Logits()
            return logits, self.run_batch(utterances, batch, logits)

        frames: dict[int, int] = {}
        for row in state.rows:
            frames[row.utterance] = max(row.frames, frames.get(row.utterance, 0))
        remaining = deque(sorted(batches, key=lambda batch: -frames[batch[0].utterance]))
        running: deque[tuple[list[WindowRow], Future[tuple[_Logits, dict[int, MmsError]]]]] = (
            deque()
        )
        workers = ThreadPoolExecutor(self._runs, thread_name_prefix="mms-encode")
        try:
            while remaining or running:
                while remaining and len(running) <= self._runs:  # one more waits for a worker
                    batch = remaining.popleft()
                    running.append((batch, workers.submit(encode, batch)))
                batch, future = running.popleft()
                logits, errors = future.result()
                logits.pass_on(sink)
                state.errors.update(errors)
                state.count(batch)
                if progress is not None:
                    progress(_kept(batch) * self._model.frame_seconds)
                yield state.take_complete()
        finally:
            workers.shutdown(cancel_futures=True)

    def run_stream(
        self,
        pieces: Iterable[Float32Array],
        normalization: Normalization,
        language: str,
        sink: Sink,
        progress: Progress | None = None,
    ) -> None:
        """Encode one utterance while its samples arrive, in the windows of `run`.

        At most two windows of samples, and a batch of windows, are in memory.

        Args:
            pieces: Consecutive samples, arrays of shape `[N]`.
            normalization: Statistics of all of them.
            language: Code.
            sink: Consumer of the logits.
            progress: Called with the seconds of audio finished since its last call.

        Raises:
            BackendError: the device failed.
            BundleError, LanguageError: the language's adapter cannot be loaded.
        """
        batch: list[tuple[WindowRow, Segment]] = []
        for window, samples in self._windows_of(pieces):
            row = WindowRow(0, language, window)
            rows = [each for each, _ in batch] + [row]
            if batch and len(plan_batches(rows, self.limits)) > 1:
                self._run_rows(batch, sink, progress)
                batch = []
            batch.append((row, Segment(normalization.apply(samples), language)))
        if batch:
            self._run_rows(batch, sink, progress)

    def _windows_of(self, pieces: Iterable[Float32Array]) -> Iterator[tuple[Window, Float32Array]]:
        """Yield the windows of samples that arrive in pieces, each with its samples."""
        geometry, seconds = self._model.geometry, self._model.frame_seconds
        held = np.zeros(0, np.float32)
        waiting: list[Float32Array] = []
        first, count, kept = 0, 0, 0  # sample held first, samples so far, frames kept
        for piece in itertools.chain(pieces, [None]):
            if piece is not None:
                waiting.append(piece)
                count += len(piece)
            frames, more = geometry.frames(count), piece is not None
            while window := next_window(
                kept, frames, self._windows, frame_seconds=seconds, more=more
            ):
                held, waiting = np.concatenate([held, *waiting]), []
                span = geometry.span(window.start, window.end)
                yield window, held[span.start - first : span.stop - first]
                kept = window.keep_end
                held, first = held[span.start - first :], span.start

    def _run_rows(
        self, batch: Sequence[tuple[WindowRow, Segment]], sink: Sink, progress: Progress | None
    ) -> None:
        rows, segments = [row for row, _ in batch], [segment for _, segment in batch]
        start = 0
        for part in self._parts(rows):
            stop = start + len(part)
            with self._model.encoder.emission(segments[start:stop]) as emission:
                sink.take(part, emission)
            start = stop
        if progress is not None:
            progress(_kept(rows) * self._model.frame_seconds)

    def rows(self, index: int, utterance: OfflineUtterance) -> list[WindowRow]:
        """Return the windows of an utterance, each a row of some batch, in order of time."""
        frames = self._model.geometry.frames(utterance.audio.samples.size)
        windows = plan_windows(frames, self._windows, frame_seconds=self._model.frame_seconds)
        return [WindowRow(index, utterance.language, window) for window in windows]

    @property
    def limits(self) -> BatchLimits:
        """Bounds of one batch."""
        return BatchLimits(
            frames=self._batch_frames,
            languages=_NO_LIMIT if self._languages is None else self._languages // self._runs,
            rows_within=self._model.encoder.rows_within,
        )

    def run_batch(
        self,
        utterances: Sequence[OfflineUtterance],
        batch: Sequence[WindowRow],
        sink: Sink,
        started: Callable[[], None] = _nothing,
    ) -> dict[int, MmsError]:
        """Encode one batch; where an adapter cannot be loaded, its utterances fail, others run.

        Args:
            utterances: Utterances by the index of their rows.
            batch: Rows within `limits`.
            sink: Consumer of the logits.
            started: Called once the batch holds its languages.

        Returns:
            The error of each utterance that failed.

        Raises:
            BackendError: the device failed.
        """
        errors: dict[int, MmsError] = {}
        parts = self._parts(batch)
        for number, part in enumerate(parts, start=1):
            # The languages of later parts are not held before.
            holding = started if number == len(parts) else _nothing
            remaining = [row for row in part if row.utterance not in errors]
            if remaining:
                errors.update(self._run_part(utterances, remaining, sink, holding))
        return errors

    def _parts(self, batch: Sequence[WindowRow]) -> list[Sequence[WindowRow]]:
        """Divide a batch into the rows of each run."""
        if not batch:
            return []
        sizes = self._model.encoder.parts(len(batch), max(row.frames for row in batch))
        ends = list(itertools.accumulate(sizes))
        return [batch[end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def _run_part(
        self,
        utterances: Sequence[OfflineUtterance],
        batch: Sequence[WindowRow],
        sink: Sink,
        started: Callable[[], None],
    ) -> dict[int, MmsError]:
        """Encode the rows of one run; see `run_batch`."""
        segments = self._segments(utterances, batch)
        try:
            with self._model.encoder.emission(segments) as emission:
                started()
                sink.take(batch, emission)
        except (BundleError, LanguageError) as error:
            languages = sorted({row.language for row in batch})
            if len(languages) == 1:
                return dict.fromkeys((row.utterance for row in batch), error)
            errors: dict[int, MmsError] = {}
            for language in languages:
                part = [row for row in batch if row.language == language]
                errors.update(self._run_part(utterances, part, sink, started))
            return errors
        return {}

    def _segments(
        self, utterances: Sequence[OfflineUtterance], rows: Sequence[WindowRow]
    ) -> list[Segment]:
        """Return the segments of rows; those of one audio in several languages share samples."""
        shared: dict[tuple[int, Normalization | BlockNormalization, Window], Float32Array] = {}
        segments = []
        for row in rows:
            own = utterances[row.utterance]
            key = id(own.audio.samples), own.normalization, row.window
            if key not in shared:
                span = self._model.geometry.span(row.window.start, row.window.end)
                shared[key] = own.normalization.apply_to(own.audio.samples, span)
            segments.append(Segment(shared[key], own.language))
        return segments


def _kept(rows: Iterable[WindowRow]) -> int:
    return sum(row.window.keep_end - row.window.keep_start for row in rows)


class _Progress:
    """Windows that remain of each utterance, and the errors of those that failed."""

    def __init__(self, rows: Sequence[list[WindowRow]]) -> None:
        self.rows = [row for windows in rows for row in windows]
        self.errors: dict[int, MmsError] = {}
        self._remaining = {index: len(windows) for index, windows in enumerate(rows)}

    def count(self, batch: Sequence[WindowRow]) -> None:
        """Count windows that were run."""
        for row in batch:
            if row.utterance in self._remaining:  # not that of one that failed
                self._remaining[row.utterance] -= 1

    def take_complete(self) -> list[tuple[int, MmsError | None]]:
        """Return the utterances that completed since the last call."""
        done = [i for i, left in self._remaining.items() if left == 0 or i in self.errors]
        for index in done:
            del self._remaining[index]
        return [(index, self.errors.get(index)) for index in done]
