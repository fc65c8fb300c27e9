"""Decoding on the device as the recogniser asks for it."""

from collections.abc import Mapping, Sequence
from typing import cast

from mms_engine.cuda.decode import DeviceDecoders, DeviceDecoding
from mms_engine.cuda.decode_batch import DeviceEmission
from mms_engine.cuda.emission import DeviceBatch
from mms_engine.decode import Hypothesis
from mms_engine.decoders import Step
from mms_engine.emission import Emission
from mms_engine.errors import LanguageModelError
from mms_engine.text.vocabulary import Vocabulary


class OnDevice:
    """`Decoders` over those of the device: only tokens come to the host."""

    def __init__(self, decoders: DeviceDecoders) -> None:
        self._decoders = decoders

    @property
    def nbest(self) -> int:
        """Different texts that are wanted of an utterance."""
        return self._decoders.nbest

    def start(
        self,
        language: str,
        vocabulary: Vocabulary,
        hotwords: Mapping[str, float] | None = None,
    ) -> DeviceDecoding:
        """Begin an utterance; see `Decoders.start`."""
        if hotwords is not None:
            raise LanguageModelError(
                "an utterance's own hotwords are not searched for on the GPU: give them to all of "
                "the recogniser's (BeamSearch.hotwords), or choose --device cpu"
            )
        return self._decoders.start(language, vocabulary)

    def step(self, steps: Sequence[Step], emission: Emission) -> None:
        """Read a batch where it lies; what is wrong with a row is an error of its `finish`."""
        batch = cast("DeviceBatch", emission)  # an encoder makes its own decoders
        chunks = [step.decoding.chunk(row, step.kept) for row, step in enumerate(steps)]
        read = self._decoders.step(DeviceEmission(batch.logits, batch.ready), chunks)
        batch.stream.wait(read)

    def finish(self, decodings: Sequence[DeviceDecoding]) -> list[list[Hypothesis]]:
        """End utterances; see `Decoders.finish`."""
        return self._decoders.finish(decodings)

    def close(self) -> None:
        """Free the device's memory."""
        self._decoders.close()
