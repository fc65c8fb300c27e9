"""Language models and hotwords of the beam in device memory."""

import collections
import contextlib
import itertools
import weakref

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.decoding.device.batch import DecodingStream
from mms_engine.decoding.search import LanguageBeam
from mms_kernels.cuda.arguments import BeamScoring
from mms_kernels.cuda.models import BeamModels
from mms_kernels.lm import NgramModel

# The language model serves every language; the other arrays go by a language's tokens.
_SHARED = ("lm.", "words.")


class DeviceModels:
    """Scoring structs of the beam's streams; used inside `CudaDevice.active`.

    A language's models are copied once. An utterance's own hotwords are copied for it alone and
    freed after it.
    """

    def __init__(self, device: CudaDevice, stream: CudaStream, lm: NgramModel | None) -> None:
        self._device = device
        self._stream = stream
        self._lm = lm
        self._by_language: dict[str, BeamScoring] = {}
        self._shared: dict[str, DeviceArray] = {}
        self._arrays: list[DeviceArray] = []
        self._own: dict[int, list[DeviceArray]] = {}
        self._keys = itertools.count()
        self._dropped: collections.deque[int] = collections.deque()
        """Utterances that were garbage collected: a collection must not call the driver."""

    def scoring(self, utterance: DecodingStream, beam: LanguageBeam) -> BeamScoring:
        """Return the struct for an utterance, copying its models where they are not there."""
        self._sweep()
        if not utterance.shares_beam:
            arrays: list[DeviceArray] = []
            scoring = self._place(beam, arrays)
            key = next(self._keys)
            self._own[key] = arrays
            weakref.finalize(utterance, self._dropped.append, key).atexit = False
            return scoring
        if utterance.language not in self._by_language:
            self._by_language[utterance.language] = self._place(beam, self._arrays)
        return self._by_language[utterance.language]

    def _place(self, beam: LanguageBeam, arrays: list[DeviceArray]) -> BeamScoring:
        options = beam.options
        models = BeamModels(
            beam.tokens,
            hotwords=beam.hotwords,
            lm=self._lm,
            lm_weight=options.lm_weight,
            word_score=options.word_score,
            unit=options.unit,
            separator=-1 if options.separator is None else options.separator,
        )
        addresses = {}
        for name, array in models.arrays.items():
            placed = self._shared.get(name)
            if placed is None:
                placed = DeviceArray.empty(self._device, array.shape, array.dtype)
                self._stream.upload(placed, array)
                if name.startswith(_SHARED):
                    self._shared[name] = placed
                else:
                    arrays.append(placed)
            addresses[name] = placed.address
        self._stream.synchronize()
        return models.scoring(addresses)

    def _sweep(self) -> None:
        """Free the hotwords of utterances that no longer exist."""
        with contextlib.suppress(IndexError):
            while True:
                arrays = self._own.pop(self._dropped.popleft(), [])
                self._stream.synchronize()  # a launch may still read them
                for array in arrays:
                    array.free()

    def free(self) -> None:
        """Free the memory."""
        own = [array for arrays in self._own.values() for array in arrays]
        for array in (*self._shared.values(), *self._arrays, *own):
            array.free()
        self._shared, self._by_language, self._arrays, self._own = {}, {}, [], {}
