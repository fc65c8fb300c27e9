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

# A language model serves all languages that write its words alike; the other arrays depend on the
# vocabulary.
_SHARED = ("lm.", "words.")


class DeviceModels:
    """Scoring structs of the beam's utterances; used inside `CudaDevice.active`.

    The models of a language are uploaded once; an utterance's own hotwords are uploaded for it
    and freed after it.
    """

    def __init__(self, device: CudaDevice, stream: CudaStream) -> None:
        self._device = device
        self._stream = stream
        self._by_language: dict[str, BeamScoring] = {}
        self._shared: dict[NgramModel, dict[str, DeviceArray]] = {}
        self._arrays: list[DeviceArray] = []
        self._own: dict[int, list[DeviceArray]] = {}
        self._keys = itertools.count()
        self._dropped: collections.deque[int] = collections.deque()
        """Utterances that were collected; the garbage collector must not call the driver."""

    def scoring(self, utterance: DecodingStream, beam: LanguageBeam) -> BeamScoring:
        """Return the struct of an utterance, uploading its models if necessary."""
        self._sweep()
        if utterance.own:
            scoring, arrays = self._place(beam)
            key = next(self._keys)
            self._own[key] = arrays
            weakref.finalize(utterance, self._dropped.append, key).atexit = False
            return scoring
        if utterance.language not in self._by_language:
            scoring, arrays = self._place(beam)
            self._by_language[utterance.language] = scoring
            self._arrays += arrays
        return self._by_language[utterance.language]

    def _place(self, beam: LanguageBeam) -> tuple[BeamScoring, list[DeviceArray]]:
        """Upload the models of a beam; return its struct and the arrays that serve it alone."""
        options = beam.options
        lm = beam.lm if isinstance(beam.lm, NgramModel) else None
        models = BeamModels(
            beam.tokens,
            hotwords=beam.hotwords,
            lm=lm,
            lm_weight=options.lm_weight,
            word_score=options.word_score,
            unit=options.unit,
            separator=-1 if options.separator is None else options.separator,
        )
        shared = {} if lm is None else self._shared.get(lm, {})
        arrays: dict[str, DeviceArray] = {}
        with self._device.creating("copying the models of the beam") as owned:
            for name, array in models.arrays.items():
                if name not in shared:
                    arrays[name] = owned(DeviceArray.empty(self._device, array.shape, array.dtype))
                    self._stream.upload(arrays[name], array)
            self._stream.synchronize()
        placed = shared | arrays
        if lm is not None:
            shared = {n: array for n, array in placed.items() if n.startswith(_SHARED)}
            self._shared[lm] = shared
        scoring = models.scoring({name: placed[name].address for name in models.arrays})
        return scoring, [a for name, a in arrays.items() if name not in shared]

    def _sweep(self) -> None:
        """Free the hotwords of utterances that were collected."""
        with contextlib.suppress(IndexError):
            while True:
                arrays = self._own.pop(self._dropped.popleft(), [])
                self._stream.synchronize()  # a launch may still read them
                for array in arrays:
                    array.free()

    def free(self) -> None:
        """Free all memory."""
        own = [array for arrays in self._own.values() for array in arrays]
        shared = [array for arrays in self._shared.values() for array in arrays.values()]
        for array in (*shared, *self._arrays, *own):
            array.free()
        self._shared, self._by_language, self._arrays, self._own = {}, {}, [], {}
