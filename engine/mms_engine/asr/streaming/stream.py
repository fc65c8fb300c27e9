"""Stream of audio in one language: audio in, events out, computed in the calling thread."""

from types import TracebackType
from typing import Self

from mms_engine.asr.streaming.core import StreamCore
from mms_engine.asr.streaming.events import EndReason, Event
from mms_engine.asr.streaming.model import StreamingModel
from mms_engine.asr.streaming.pcm import Pcm
from mms_engine.asr.streaming.state import save
from mms_engine.errors import StreamError


class Stream:
    """Transcription of live audio. `Recognizer.stream` makes one.

    The text does not depend on how the audio is cut. Not thread-safe. Events that precede an error
    are returned by the next call.
    """

    def __init__(self, core: StreamCore, model: StreamingModel) -> None:
        """Take over the core of a stream."""
        self._core = core
        self._model = model
        self._finished = False

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
        """Language code."""
        return self._core.language

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio fed."""
        return self._core.audio_seconds

    def feed(self, pcm: Pcm, sample_rate: int | None = None) -> list[Event]:
        """Feed audio and return the events it leads to.

        Args:
            pcm: Bytes in the format of the options, cut anywhere; or float32 or int16 `[N]`.
            sample_rate: New sample rate in Hz, where it changes.

        Raises:
            AudioError: it is not valid audio; the stream is unchanged.
            BackendError: the device failed, or the logits cannot be decoded.
            StreamError: the stream is finished.
        """
        self._check_open()
        self._core.add(*self._core.parse(pcm, sample_rate))
        self._run_steps()
        return self._core.take_events()

    def flush(self) -> list[Event]:
        """End the utterance with the audio fed so far; the stream continues with a new one."""
        self._check_open()
        self._end("flush")
        return self._core.take_events()

    def finish(self) -> list[Event]:
        """End the stream and return its last events."""
        self._check_open()
        self._end("end")
        self.close()
        return self._core.take_events()

    def close(self) -> None:
        """Free the stream's memory without finishing it."""
        self._finished = True
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

    def _end(self, reason: EndReason) -> None:
        self._core.end(reason)
        self._run_steps()
        self._core.close()

    def _check_open(self) -> None:
        if self._finished:
            raise StreamError("the stream is finished: open another")

    def _run_steps(self) -> None:
        while (step := self._core.next_step()) is not None:
            features = self._model.features([step.samples])[0]
            row = self._core.row(step, features)
            output = self._model.encode([row], [step.language])[0]
            self._core.read(step, output)
