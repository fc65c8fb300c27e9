"""Stream of audio, computed in the calling thread."""

from types import TracebackType
from typing import Self

from mms_engine.asr.streaming.core import StreamCore
from mms_engine.asr.streaming.events import Event
from mms_engine.asr.streaming.language import AUTO, LanguageFinder, LanguageStep
from mms_engine.asr.streaming.model import StreamingModel
from mms_engine.asr.streaming.pcm import Pcm
from mms_engine.asr.streaming.state import save
from mms_engine.errors import StreamError


class Stream:
    """Transcription of live audio. `Recognizer.stream` makes one. Not thread-safe.

    The text does not depend on how the audio is cut. After a `BackendError` the stream continues
    with the next call, which also returns the events that preceded the error.
    """

    def __init__(
        self, core: StreamCore, model: StreamingModel, finder: LanguageFinder | None = None
    ) -> None:
        """Take over the core of a stream; `finder` as for `open_core`."""
        self._core = core
        self._finder = finder
        self._model = model
        self._is_ending = False
        """Whether `finish` was called."""
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Stream({self.language}, {self.audio_seconds:.2f} s)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def language(self) -> str:
        """Language code; `auto` while it is not known, or has no adapter."""
        return self._core.language or AUTO

    @property
    def warnings(self) -> tuple[str, ...]:
        """Words of the language model and hotwords that cannot be used."""
        return self._core.utterance.warnings

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio fed."""
        return self._core.audio_seconds

    def feed(self, pcm: Pcm, sample_rate: int | None = None) -> list[Event]:
        """Feed audio, run the steps that are due, and return their events.

        Args:
            pcm: Bytes in the format of the options, cut anywhere; or float32 or int16 `[N]`.
            sample_rate: New sample rate in Hz, where it changes.

        Raises:
            AudioError: it is not valid audio; the stream is unchanged.
            BackendError: the device failed, and the step will run again; or its logits cannot be
                decoded, and the next utterance begins after it.
            StreamError: the stream is finished.
        """
        self._check_open()
        self._core.add(*self._core.parse(pcm, sample_rate))
        self._run_steps()
        return self._core.take_events()

    def flush(self) -> list[Event]:
        """End the utterance after the audio fed so far, and return its last events.

        Raises:
            BackendError: as for `feed`; the next call ends the utterance.
            StreamError: the stream is finished.
        """
        self._check_open()
        self._core.end("flush")
        self._run_steps()
        return self._core.take_events()

    def finish(self) -> list[Event]:
        """End the stream, free its memory, and return its last events.

        Raises:
            BackendError: as for `feed`; `finish` may be called again.
            StreamError: the stream is finished.
        """
        if self._is_closed or not self._is_ending:
            self._check_open()
            self._core.end("end")
            self._is_ending = True
        self._run_steps()
        self.close()
        return self._core.take_events()

    def close(self) -> None:
        """Free the stream's memory without finishing it."""
        self._is_closed = True
        self._core.release()

    def save(self) -> bytes:
        """Return the state of the stream, for `Recognizer.restore_stream` in any process.

        It holds the left context's KV cache, at 1B about 250 kB per frame of `left_seconds` (50 a
        second), and the logits of the current utterance.

        Raises:
            StreamError: the stream is finished.
        """
        self._check_open()
        manifest = self._model.acoustic.bundle.manifest
        return save(self._core, manifest.source.fingerprint)

    def _check_open(self) -> None:
        if self._is_closed or self._is_ending:
            raise StreamError("the stream is finished: open another")

    def _run_steps(self) -> None:
        """Run the steps that are due, and carry out requested ends."""
        while True:
            step = self._core.next_step()
            if step is None:
                if not self._core.is_ending:
                    return
                self._core.close()
                continue
            if isinstance(step, LanguageStep):
                if self._finder is None:
                    raise RuntimeError("a language step without an identification model")
                self._core.decide(self._finder.logits(step.windows))
                continue
            features = self._model.features([step.samples])[0]
            row = self._core.row(step, features)
            output = self._model.encode([row], [step.language])[0]
            self._core.read(step, output)
