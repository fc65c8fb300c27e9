"""One stream: audio goes in, events come out, the work is done in between."""

from types import TracebackType
from typing import Self

from mms_engine.errors import BackendError, StreamError
from mms_engine.streaming.core import StreamCore
from mms_engine.streaming.events import EndReason, Event
from mms_engine.streaming.model import StreamingModel
from mms_engine.streaming.pcm import Pcm
from mms_engine.streaming.state import save


class Stream:
    """Transcribes sound while it is spoken. `Recognizer.stream` makes one.

    The text does not depend on how the audio is cut. Not for several threads at once.
    """

    def __init__(self, core: StreamCore, model: StreamingModel) -> None:
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
        self._end_here()

    @property
    def language(self) -> str:
        """Code of the language."""
        return self._core.language

    @property
    def audio_seconds(self) -> float:
        """Audio that was taken in."""
        return self._core.audio_seconds

    def feed(self, pcm: Pcm, sample_rate: int | None = None) -> list[Event]:
        """Take in audio and return what it tells.

        Args:
            pcm: Bytes in the format of the options, cut anywhere; or float32 or int16 `[N]`.
            sample_rate: Where it changes, Hz.

        Raises:
            AudioError: it is not audio; the stream goes on as if it had not been fed.
            BackendError: the device failed.
            StreamError: the stream is finished.
        """
        self._check_open()
        self._core.accept(pcm, sample_rate)
        return self._steps()

    def flush(self) -> list[Event]:
        """End the utterance with the audio that is there; the stream goes on with a new one."""
        self._check_open()
        return self._end("flush")

    def finish(self) -> list[Event]:
        """End the stream and return its last events."""
        self._check_open()
        events = self._end("end")
        self._end_here()
        return events

    def _end_here(self) -> None:
        self._finished = True
        self._core.release()

    def save(self) -> bytes:
        """Return the state of the stream, for `Recognizer.restore_stream`, here or elsewhere.

        Its size is that of the left context's memory, at 1B about 250 kB a frame of `left_seconds`
        (50 a second), and of the logits of the utterance so far.

        Raises:
            StreamError: the stream is finished.
        """
        self._check_open()
        manifest = self._model.acoustic.bundle.manifest
        return save(self._core, manifest.source.fingerprint)

    def _end(self, reason: EndReason) -> list[Event]:
        self._core.end(reason)
        return [*self._steps(), *self._core.close()]

    def _check_open(self) -> None:
        if self._finished:
            raise StreamError("the stream is finished: open another")

    def _steps(self) -> list[Event]:
        events: list[Event] = []
        while (step := self._core.next_step()) is not None:
            features = self._model.features([step.samples])[0]
            row = self._core.row(step, features)
            encoded = self._model.encode([row], [step.language])[0]
            try:
                events += self._core.read(step, encoded)
            except ValueError as error:
                raise BackendError(f"the encoder's logits cannot be decoded: {error}") from error
        return events
