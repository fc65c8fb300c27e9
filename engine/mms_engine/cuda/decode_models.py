"""Language models and hotwords of the beam, on the device: once, whatever the number of streams."""

from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import Stream
from mms_engine.searches import LanguageSearch
from mms_kernels.cuda.arguments import BeamScoring
from mms_kernels.cuda.models import BeamModels
from mms_kernels.lm import NgramModel

# The language model is that of every language; the rest goes by a language's tokens.
_OF_ALL_LANGUAGES = ("lm.", "words.")


class DeviceModels:
    """What the beam's streams are scored by; used inside `CudaDevice.active`."""

    def __init__(self, device: CudaDevice, stream: Stream, lm: NgramModel | None) -> None:
        self._device = device
        self._stream = stream
        self._lm = lm
        self._by_language: dict[str, BeamScoring] = {}
        self._arrays: dict[tuple[str, str], DeviceArray] = {}

    def scoring(self, language: str, search: LanguageSearch) -> BeamScoring:
        """Return the struct for a language, whose models are copied at the first call."""
        if language not in self._by_language:
            self._by_language[language] = self._place(language, search)
        return self._by_language[language]

    def _place(self, language: str, search: LanguageSearch) -> BeamScoring:
        options = search.options
        models = BeamModels(
            search.tokens,
            hotwords=search.hotwords,
            lm=self._lm,
            lm_weight=options.lm_weight,
            word_score=options.word_score,
            unit=options.unit,
            separator=-1 if options.separator is None else options.separator,
        )
        addresses = {}
        for name, array in models.arrays.items():
            key = ("" if name.startswith(_OF_ALL_LANGUAGES) else language, name)
            if key not in self._arrays:
                self._arrays[key] = DeviceArray.empty(self._device, array.shape, array.dtype)
                self._stream.upload(self._arrays[key], array)
            addresses[name] = self._arrays[key].address
        self._stream.synchronize()
        return models.scoring(addresses)

    def free(self) -> None:
        """Give the memory back."""
        for array in self._arrays.values():
            array.free()
        self._arrays, self._by_language = {}, {}
