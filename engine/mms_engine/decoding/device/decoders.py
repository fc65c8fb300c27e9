"""Decoders on the GPU: they read logits in device memory and download tokens."""

import threading
from collections.abc import Sequence

import numpy as np

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.kernels import Kernels
from mms_engine.cuda.streams import CudaEvent, CudaStream
from mms_engine.cuda.workspace import Workspace
from mms_engine.decoding.device.batch import Batch, DecodingStream, check, prepare
from mms_engine.decoding.device.beam import DeviceBeam
from mms_engine.decoding.device.greedy import DeviceGreedy
from mms_engine.decoding.device.search import DeviceSearch, Settled
from mms_engine.decoding.host import GREEDY_HOTWORDS
from mms_engine.decoding.interface import Decoded, DecodeRow
from mms_engine.decoding.options import HotwordPhrases
from mms_engine.decoding.search import BeamConfig, LanguageBeam
from mms_engine.encoder.device.emission import DeviceEmission
from mms_engine.encoder.emission import Emission
from mms_engine.errors import BackendError, LanguageModelError
from mms_engine.text.vocabulary import Vocabulary
from mms_kernels.cuda.arguments import STATUS, Code

_REASONS = {
    Code.NAN: "frame {frame} of the logits holds NaN",
    Code.INFINITE: "frame {frame} of the logits holds +inf",
    Code.EMPTY: "frame {frame} of the logits is -inf for every token",
}


class DeviceDecoders:
    """Decoders on the GPU, many utterances in a launch; see `DecoderBackend`.

    The host waits for the tokens of a batch when the next one comes, or an utterance ends.
    """

    def __init__(self, device: CudaDevice, config: BeamConfig | None) -> None:
        """Load the kernels.

        Args:
            device: GPU that holds the logits.
            config: Models and options of the search; `None` for greedy decoding.

        Raises:
            BackendError: the search does not run on a GPU, or the kernels do not load.
        """
        self._device = device
        self._lock = threading.Lock()
        self._config = config
        self._by_language: dict[str, LanguageBeam] = {}
        self._pending: _Pending | None = None
        self._closed = False
        if config is not None:
            DeviceBeam.check(config)
        with device.creating("preparing the decoders") as owned:
            self._kernels = owned(Kernels(device))
            self._stream = owned(CudaStream(device))
            self._done = owned(CudaEvent(device))
            self._workspace = Workspace(device)
            self._search: DeviceSearch = (
                DeviceGreedy(device, self._kernels, self._stream)
                if config is None
                else DeviceBeam(device, self._kernels, self._stream, config)
            )

    @property
    def nbest(self) -> int:
        """Distinct texts that are wanted of an utterance."""
        return 1 if self._config is None else self._config.nbest

    def start(
        self,
        language: str,
        vocabulary: Vocabulary,
        hotwords: HotwordPhrases | None = None,
    ) -> DecodingStream:
        """Begin an utterance; see `DecoderBackend.start`."""
        if self._config is None:
            if hotwords:
                raise LanguageModelError(GREEDY_HOTWORDS)
            return DecodingStream(language)
        try:
            if hotwords is not None:
                beam = self._config.of(language, vocabulary, hotwords)
                return DecodingStream(language, beam, own=True)
            with self._lock:
                if language not in self._by_language:
                    self._by_language[language] = self._config.of(language, vocabulary)
                return DecodingStream(language, self._by_language[language])
        except ValueError as error:
            raise LanguageModelError(f"beam search in {language}: {error}") from error

    def step(self, rows: Sequence[DecodeRow], emission: Emission) -> None:
        """Decode a batch on the device; see `DecoderBackend.step`.

        Raises:
            ValueError: a row's frames are not in the emission.
            BackendError: the device failed.
        """
        if not isinstance(emission, DeviceEmission):
            raise TypeError("logits in host memory are decoded by HostDecoders")
        count, frames, _ = emission.logits.shape
        check(rows, count, frames)
        with self._lock, self._device.active("decoding"):
            self._collect()
            self._read(emission, rows)
            self._stream.record(self._done)
            emission.stream.wait(self._done)

    def finish(self, decodings: Sequence[DecodingStream]) -> list[Decoded]:
        """End utterances; see `DecoderBackend.finish`.

        Raises:
            BackendError: the device failed.
        """
        with self._lock, self._device.active("decoding"):
            self._collect()
            good = [stream for stream in decodings if not stream.error]
            self._begin(good)
            found = iter(self._search.finish(good) if good else [])
            for stream in decodings:
                stream.slot = None
            return [
                ValueError(stream.error) if stream.error else next(found) for stream in decodings
            ]

    def close(self) -> None:
        """Free the device's memory, once. Utterances cannot continue."""
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
            self._kernels.free()

    def _begin(self, streams: Sequence[DecodingStream]) -> None:
        fresh = list({id(each): each for each in streams if each.slot is None}.values())
        if fresh:
            self._search.begin(fresh)

    def _read(self, emission: DeviceEmission, rows: Sequence[DecodeRow]) -> None:
        self._begin([row.decoding for row in rows])
        if not rows or emission.logits.shape[1] == 0:
            return
        batch = prepare(emission, rows, self._kernels, self._stream, self._workspace)
        self._pending = _Pending(batch, self._search.launch(batch), self._workspace)
        self._pending.download(self._stream)

    def _collect(self) -> None:
        """Wait for the previous batch and take its tokens."""
        if self._closed:
            raise BackendError("the decoders are closed")
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        self._stream.synchronize()
        pending.collect(self._stream)


class _Pending:
    """Batch whose tokens are not yet on the host."""

    def __init__(self, batch: Batch, settled: Settled, workspace: Workspace) -> None:
        rows = int(batch.scores.rows)
        self._batch = batch
        self._settled = settled
        self._status = workspace.host("status", (rows,), STATUS)
        self._counts = workspace.host("counts", (rows,), np.int64)

    def download(self, stream: CudaStream) -> None:
        """Copy statuses and token counts to the host; returns at once."""
        stream.download(self._status, self._settled.status)
        stream.download(self._counts, self._settled.counts)

    def collect(self, stream: CudaStream) -> None:
        """Append to each utterance its tokens, or set its error; all work is finished."""
        counts = np.zeros(len(self._counts), np.int64)
        for index, row in enumerate(self._batch.rows):
            utterance: DecodingStream = row.decoding
            code = Code(self._status["code"][index])
            if code == Code.OK:
                counts[index] = self._counts[index]
            elif not utterance.error:
                frame = utterance.frames + int(self._status["frame"][index])
                reason = _REASONS.get(code, f"the device refused it: {code.name}")
                utterance.error = reason.format(frame=frame)
            utterance.frames += row.kept.stop - row.kept.start
        tokens = self._settled.tokens.download(stream, counts.tolist())
        for row, count, piece in zip(self._batch.rows, counts, tokens, strict=False):
            if count:
                row.decoding.pieces.append(piece)
