"""Decoding where the encoder left its logits: only tokens come back."""

import threading
from collections.abc import Sequence

import numpy as np

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.decode_batch import (
    Batch,
    Chunk,
    DecodingStream,
    DeviceEmission,
    check,
    prepare,
)
from mms_engine.cuda.decode_beam import BeamPlan, DeviceBeam
from mms_engine.cuda.decode_greedy import DeviceGreedy
from mms_engine.cuda.decode_search import Handed, Search
from mms_engine.cuda.decode_state import Workspace
from mms_engine.cuda.kernels import Kernels
from mms_engine.cuda.streams import Event, Stream
from mms_engine.decode import Hypothesis
from mms_engine.errors import BackendError, LanguageModelError
from mms_engine.options import BeamSearch, RecognizerOptions
from mms_engine.searches import LanguageSearch, Searches
from mms_engine.text.vocabulary import BLANK, Vocabulary
from mms_engine.types import Float32Array
from mms_kernels import BeamOptions
from mms_kernels.cuda.arguments import MAX_BEAM, STATUS, Code
from mms_kernels.lm import NgramModel

_REASONS = {
    Code.NAN: "frame {frame} of the logits holds NaN",
    Code.INFINITE: "frame {frame} of the logits holds +inf",
    Code.EMPTY: "frame {frame} of the logits is -inf for every token",
}


class DeviceDecoders:
    """Decodes any number of utterances, in any languages, many in a launch.

    The host waits for the tokens of a batch when the next one comes, or an utterance ends. May be
    used from several threads at once.
    """

    def __init__(
        self,
        device: CudaDevice,
        kernels: Kernels,
        options: RecognizerOptions,
        searches: Searches | None = None,
    ) -> None:
        """Open what decoding takes.

        Args:
            device: Where.
            kernels: The kernels, loaded there.
            options: What to search for.
            searches: Of the same options, where they are open already.

        Raises:
            LanguageModelError: the language model cannot be read.
            BackendError: the search is not one for the device; the CPU's decoders do it.
        """
        self._device = device
        self._kernels = kernels
        self._lock = threading.Lock()
        self._searches = searches or Searches(options.beam or BeamSearch())
        self._is_beam = options.decoder == "beam"
        self._by_language: dict[str, LanguageSearch] = {}
        self._pending: _Pending | None = None
        self._closed = False
        plan = self._plan() if self._is_beam else None
        with device.active("preparing the decoders"):
            self._stream = Stream(device)
            self._done = Event(device)
            self._workspace = Workspace(device)
            self._search: Search = (
                DeviceGreedy(device, kernels, self._stream)
                if plan is None
                else DeviceBeam(device, kernels, self._stream, plan)
            )

    def _plan(self) -> BeamPlan:
        size, lm = self._searches.beam_size, self._searches.lm
        if size > MAX_BEAM:
            raise BackendError(f"a beam of {size} is not decoded on the GPU, at most {MAX_BEAM} is")
        if lm is not None and not isinstance(lm, NgramModel):
            raise BackendError("a KenLM binary is not used on the GPU: give the ARPA file it is of")
        return BeamPlan(
            options=BeamOptions(beam_size=size, blank=BLANK),
            lm=lm,
            wanted=self._searches.wanted,
            search_of=lambda stream: self._by_language[stream.language],
        )

    @property
    def nbest(self) -> int:
        """Different texts that are wanted of an utterance."""
        return self._searches.nbest

    def start(self, language: str, vocabulary: Vocabulary) -> "DeviceDecoding":
        """Begin an utterance.

        Raises:
            LanguageModelError: hotwords or the language model do not fit the language.
        """
        with self._lock:
            if self._is_beam and language not in self._by_language:
                try:
                    self._by_language[language] = self._searches.of(vocabulary)
                except ValueError as error:
                    raise LanguageModelError(f"beam search in {language}: {error}") from error
        return DeviceDecoding(self, DecodingStream(language, vocabulary))

    def step(self, emission: DeviceEmission, chunks: Sequence[Chunk]) -> Event:
        """Read frames of a batch.

        What is wrong with the logits of one utterance is an error when that one is finished.

        Args:
            emission: Logits on the device.
            chunks: `DeviceDecoding.chunk` makes them: at most one a row, and those of one utterance
                in order of time.

        Returns:
            What is recorded when the logits have been read and may be overwritten.

        Raises:
            ValueError: a chunk is not in the emission.
            BackendError: the device failed.
        """
        rows, frames, _ = emission.logits.shape
        check(chunks, rows, frames)
        with self._lock, self._device.active("decoding"):
            self._collect()
            self._read(emission, chunks)
            self._stream.record(self._done)
            return self._done

    def step_host(self, decoding: "DeviceDecoding", logits: Float32Array) -> None:
        """Read frames of one utterance, `[T, V]`, that are not on the device."""
        chunks = [decoding.chunk(0, slice(0, len(logits)))]
        with self._lock, self._device.active("decoding"):
            self._collect()
            there = self._workspace.upload(self._stream, "logits", logits[np.newaxis])
            self._read(DeviceEmission(there), chunks)

    def finish(self, decodings: Sequence["DeviceDecoding"]) -> list[list[Hypothesis]]:
        """Return what was found in each utterance, the best first.

        Raises:
            ValueError: the logits of one of them hold NaN or +inf.
            BackendError: the device failed.
        """
        streams = [decoding.stream for decoding in decodings]
        with self._lock, self._device.active("decoding"):
            self._collect()
            for stream in streams:
                if stream.error:
                    raise ValueError(stream.error)
            self._begin(streams)
            found = self._search.finish(streams) if streams else []
            for stream in streams:
                stream.slot = None
            return found

    def close(self) -> None:
        """Give the device's memory back, once. Utterances cannot go on."""
        with self._lock, self._device.active("closing the decoders"):
            if self._closed:
                return
            self._collect()
            self._closed = True
            self._stream.synchronize()
            self._search.free()
            self._workspace.free()
            self._done.free()
            self._stream.free()

    def _begin(self, streams: Sequence[DecodingStream]) -> None:
        fresh = list({id(each): each for each in streams if each.slot is None}.values())
        if fresh:
            self._search.begin(fresh)

    def _read(self, emission: DeviceEmission, chunks: Sequence[Chunk]) -> None:
        self._begin([chunk.stream for chunk in chunks])
        if not chunks or emission.logits.shape[1] == 0:
            return
        batch = prepare(emission, chunks, self._kernels, self._stream, self._workspace)
        self._pending = _Pending(batch, self._search.launch(batch), self._workspace)
        self._pending.download(self._stream)

    def _collect(self) -> None:
        """Wait for the batch before, and take its tokens."""
        if self._closed:
            raise BackendError("the decoders are closed")
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        self._stream.synchronize()
        pending.collect(self._stream)


class _Pending:
    """A batch that the device is busy with."""

    def __init__(self, batch: Batch, handed: Handed, workspace: Workspace) -> None:
        rows = int(batch.scores.rows)
        self._batch = batch
        self._handed = handed
        self._status = workspace.host("status", (rows,), STATUS)
        self._counts = workspace.host("counts", (rows,), np.int64)

    def download(self, stream: Stream) -> None:
        """Let the host know what there is; returns at once."""
        stream.download(self._status, self._handed.status)
        stream.download(self._counts, self._handed.counts)

    def collect(self, stream: Stream) -> None:
        """Give each utterance its tokens, or its error; all work is finished."""
        counts = np.zeros(len(self._counts), np.int64)
        for chunk in self._batch.chunks:
            code = Code(self._status["code"][chunk.row])
            if code == Code.OK:
                counts[chunk.row] = self._counts[chunk.row]
            elif not chunk.stream.error:
                frame = chunk.stream.frames + int(self._status["frame"][chunk.row])
                reason = _REASONS.get(code, f"the device refused it: {code.name}")
                chunk.stream.error = reason.format(frame=frame)
            chunk.stream.frames += chunk.frames.stop - chunk.frames.start
        tokens = self._handed.tokens.download(stream, counts.tolist())
        for chunk in self._batch.chunks:
            if counts[chunk.row]:
                chunk.stream.pieces.append(tokens[chunk.row])


class DeviceDecoding:
    """One utterance; a `Decoding` that takes logits from the host as well."""

    def __init__(self, decoders: DeviceDecoders, stream: DecodingStream) -> None:
        self._decoders = decoders
        self.stream = stream

    def chunk(self, row: int, frames: slice) -> Chunk:
        """Return frames `[start, stop)` of a batch's row as the next of this utterance."""
        return Chunk(self.stream, row, frames)

    def step(self, logits: Float32Array) -> None:
        """Read the next frames from the host, `[T, V]`; see `Decoding.step` for the rest."""
        self._decoders.step_host(self, logits)

    def finish(self) -> list[Hypothesis]:
        """Return what was found, the best first.

        Raises:
            ValueError: the logits hold NaN or +inf.
            BackendError: the device failed.
        """
        return self._decoders.finish([self])[0]
