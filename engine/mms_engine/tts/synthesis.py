"""Synthesis of one sentence: tokens to durations to features, and features to samples in chunks."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mms_engine.bank.voices import VoiceBank
from mms_engine.bundle.manifest import Vits
from mms_engine.bundle.voices import Voice
from mms_engine.errors import BackendError
from mms_engine.text.reading import ReadSentence
from mms_engine.text.tokenizer import BLANK, VoiceLetter
from mms_engine.tts.chunks import (
    RUN_THREADS,
    STREAMED,
    WHOLE,
    Shape,
    Window,
    frame_windows,
    margin_frames,
    windows,
)
from mms_engine.tts.durations import Int64Array, timed
from mms_engine.tts.graphs import VitsGraphs
from mms_engine.tts.options import SpeechOptions
from mms_engine.types import Float32Array

_CARRIER_LETTERS = 12
"""Least letters of a sentence and its repetitions."""
_DURATION, _LATENT = 0, 1
"""Streams of noise of a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A sentence that is ready for the decoder."""

    read: ReadSentence
    features: Float32Array
    """Shape `[1, C, S]`: input of the decoder, perhaps with padding at its end."""
    steps: int
    """Steps of the sentence."""
    begin: int
    """First frame that is spoken."""
    end: int
    """Frame behind the last."""
    bounds: Int64Array
    """Shape `[letters, 2]`: first frame of each letter and the one behind its last, from
    `begin`."""
    tempo: float
    """Factor by which the waveform is shortened."""


class Synthesis:
    """Stages of synthesis with the graphs of a bundle. Methods are thread-safe.

    Samples depend on the tokens of the sentence, the voice and the options alone: noise is drawn
    for each sentence from the seed and its tokens. A run has two threads at most; with more, the
    windows of a sentence are decoded beside each other.
    """

    def __init__(self, model: Vits, graphs: VitsGraphs, bank: VoiceBank, threads: int) -> None:
        self._graphs = graphs
        self._bank = bank
        self._flow_size = model.flow_size
        self._shape = Shape.of(model, graphs.device)
        self._frame_margin = margin_frames(model)
        beside = threads // RUN_THREADS if graphs.device == "cpu" else 1
        self._workers = ThreadPoolExecutor(beside, "mms-speech") if beside > 1 else None
        self._ahead = beside
        self.frame_samples = int(np.prod(model.upsample_rates))
        """Samples per frame."""

    def plan(self, read: ReadSentence, voice: Voice, code: str, options: SpeechOptions) -> Plan:
        """Return a sentence that has letters, ready for the decoder.

        Args:
            read: The sentence.
            voice: Description of the voice.
            code: Code of the voice.
            options: Speed, noise and pauses.

        Raises:
            BundleError: the voice is damaged.
            BackendError: the device failed.
        """
        repeated = _Repeated(read, voice, options.short_letters)
        ids = repeated.ids
        means, log_scales, log_durations = self._text(ids, voice, code, options)
        is_blank = np.zeros(len(ids), bool)
        is_blank[:: 2 if voice.add_blank else len(ids) + 1] = voice.add_blank
        timing = timed(log_durations, is_blank, voice.speaking_rate, options.speed)
        frames = timing.frames
        frame_seconds = self.frame_samples / voice.sampling_rate
        for letter, seconds in read.pauses:
            scaled = seconds * options.pause_scale / options.speed
            frames[repeated.pause_position(letter)] += round(scaled * timing.tempo / frame_seconds)
        ends = np.cumsum(frames)
        starts = ends - frames
        begin, end = repeated.span(starts, ends)
        positions = [repeated.position(i) for i in range(len(read.tokens.letters))]
        bounds = np.stack([starts[positions], ends[positions]], axis=1) - begin
        expanded = np.repeat(np.arange(len(ids)), frames)
        noise = _noise(options.seed, _LATENT, ids, (self._flow_size, len(expanded)))
        scale = options.noise_scale if options.noise_scale is not None else voice.noise_scale
        latents = means[:, expanded] + noise * np.exp(log_scales[:, expanded]) * np.float32(scale)
        features = self._features(latents.astype(np.float32, copy=False), code)
        steps = len(expanded) * self._shape.rate
        return Plan(read, features, steps, begin, end, bounds, timing.tempo)

    def _text(
        self, ids: Int64Array, voice: Voice, code: str, options: SpeechOptions
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return the prior's means and log-scales `[D, T]` and the log-durations `[T]`."""
        chosen = options.noise_scale_duration
        scale = np.float32(voice.noise_scale_duration if chosen is None else chosen)
        noise = _noise(options.seed, _DURATION, ids, (2, len(ids))) * scale
        columns = self._shape.columns(len(ids))
        feeds = {
            "ids": _padded(ids, columns),
            "lengths": np.array([len(ids)], np.int64),
            "duration_noise": _padded(noise, columns),
        }
        found = self._run("text", feeds, code)
        names = ("means", "log_scales", "log_durations")
        means, log_scales, log_durations = (found[name][0, ..., : len(ids)] for name in names)
        return means, log_scales, log_durations

    def _features(self, latents: Float32Array, code: str) -> Float32Array:
        """Return the input of the decoder `[1, C, S]` for latents `[D, F]`.

        Where a plan does not cover the sentence, it is computed in parts with their contexts.
        """
        frames = latents.shape[1]
        most, rate = self._graphs.most_frames, self._shape.rate
        if most is None or frames <= most:
            columns = self._shape.columns(frames)
            return self._flow(latents, columns if most is None else min(columns, most), code)
        parts = []
        for window in frame_windows(frames, most, self._frame_margin):
            part = self._flow(latents[:, window.first : window.last], most, code)
            begin, end = window.start - window.first, window.end - window.first
            parts.append(part[:, :, begin * rate : end * rate])
        return np.concatenate(parts, axis=2)

    def _flow(self, latents: Float32Array, columns: int, code: str) -> Float32Array:
        feeds = {
            "latents": _padded(latents, columns),
            "lengths": np.array([latents.shape[1]], np.int64),
        }
        return self._run("flow", feeds, code)["features"]

    def chunks(self, plan: Plan, code: str, *, streams: bool = True) -> Iterator[Float32Array]:
        """Yield the samples of a sentence: 4, 8 and 16 frames, then 64 each.

        In large chunks on a CPU if somebody waits for the last one rather than for the first.

        Joined, they equal the samples of one run over the whole, on ONNX Runtime's CPU kernels to
        the bit.

        Raises:
            BundleError: the voice is damaged.
            BackendError: the device failed.
        """
        sizes = WHOLE if not streams and self._graphs.device == "cpu" else STREAMED
        end = plan.end * self._shape.rate
        wanted = (
            window
            for window in windows(plan.steps, self._shape, plan.begin * self._shape.rate, sizes)
            if window.start < end
        )
        if self._workers is None:
            yield from (self._decoded(plan, window, code) for window in wanted)
            return
        pending: deque[Future[Float32Array]] = deque()
        try:
            for window in wanted:
                try:
                    pending.append(self._workers.submit(self._decoded, plan, window, code))
                except RuntimeError as error:  # they have ended
                    raise BackendError("the synthesizer is closed") from error
                if len(pending) > self._ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for one in pending:
                one.cancel()

    def _decoded(self, plan: Plan, window: Window, code: str) -> Float32Array:
        """Return the samples of a window, without those of its context."""
        part = np.ascontiguousarray(plan.features[:, :, window.first : window.last])
        valid = np.array([[0, min(window.last, plan.steps) - window.first]], np.int64)
        found = self._run("decoder", {"features": part, "valid": valid}, code)
        samples: Float32Array = found["samples"][0]
        per_step = self.frame_samples // self._shape.rate
        first = (window.start - window.first) * per_step
        last = (min(window.end, plan.end * self._shape.rate) - window.first) * per_step
        return samples[first:last]

    def close(self) -> None:
        """End the threads, once the runs in progress have ended."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)

    def _run(
        self, graph: str, activations: dict[str, np.ndarray], code: str
    ) -> dict[str, Float32Array]:
        # Held for each run only: whoever listens may take long, and others need the slot.
        with self._bank.acquire([code]) as residents:
            weights = self._bank.storage.arrays(residents[code].slot)
            return self._graphs.run(graph, activations, weights)


class _Repeated:
    """Tokens of a sentence; of a very short one, within repetitions of itself.

    Voices garble sentences of few letters, which they were not trained on.
    """

    def __init__(self, read: ReadSentence, voice: Voice, short_letters: int) -> None:
        letters = read.tokens.letters
        spaces = self._spaces = [i for letter, i in voice.vocabulary.items() if letter == " "]
        self._step = 2 if voice.add_blank else 1
        self._first = 0
        """Index of the first letter of the copy that is spoken."""
        self._count = len(letters)
        copies = 1
        if len(letters) <= short_letters:
            copies = -(-_CARRIER_LETTERS // (len(letters) + len(spaces[:1]))) | 1
        tokens: list[int] = []
        for copy in range(copies):
            if copy:
                tokens += spaces[:1]
            if copy == copies // 2:
                self._first = len(tokens)
            tokens += _ids(letters)
        self._total = len(tokens)
        self.ids = np.array(tokens, np.int64)
        if voice.add_blank:
            self.ids = np.full(2 * len(tokens) + 1, BLANK, np.int64)
            self.ids[1::2] = tokens

    def position(self, letter: int) -> int:
        """Return the position in `ids` of a letter of the sentence."""
        return (self._first + letter) * self._step + self._step - 1

    def pause_position(self, letter: int) -> int:
        """Return the position in `ids` that lasts longer for a pause behind a letter."""
        place = self.position(letter)
        is_space = int(self.ids[place]) in self._spaces
        return place if is_space or self._step == 1 else place + 1

    def span(self, starts: Int64Array, ends: Int64Array) -> tuple[int, int]:
        """Return the frames of the sentence, with half of what lies between it and its copies."""
        begin, end = 0, int(ends[-1])
        gap = 1 if self._spaces else 0
        if self._first:
            before = int(ends[self.position(-1 - gap)])
            begin = (before + int(starts[self.position(0)])) // 2
        if self._first + self._count < self._total:
            behind = int(starts[self.position(self._count + gap)])
            end = (int(ends[self.position(self._count - 1)]) + behind) // 2
        return begin, end


def _ids(letters: tuple[VoiceLetter, ...]) -> list[int]:
    return [letter.token for letter in letters]


def _padded(values: np.ndarray, columns: int) -> np.ndarray:
    """Return `[…, T]` as a batch of one, with `columns` columns."""
    missing = columns - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])[np.newaxis]


def _noise(seed: int, stream: int, ids: Int64Array, shape: tuple[int, int]) -> Float32Array:
    """Return standard normal noise that depends on its arguments alone."""
    digest = hashlib.sha256(ids.astype("<i8").tobytes()).digest()
    words = np.frombuffer(digest[:16], "<u4").tolist()
    generator = np.random.Generator(
        np.random.Philox(np.random.SeedSequence([seed, stream, *words]))
    )
    return generator.standard_normal(shape, np.float32)
