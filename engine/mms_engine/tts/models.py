"""Models of a bundle of voices: graphs, resident voices and synthesis, for each size of network."""

import threading
from dataclasses import dataclass

from mms_engine.bank.voices import VoiceBank
from mms_engine.bundle.reader import Bundle
from mms_engine.errors import BackendError
from mms_engine.system import usable_cores
from mms_engine.tts.graphs import VitsGraphs
from mms_engine.tts.loading import load_graphs, open_voice_bank
from mms_engine.tts.options import SynthesizerOptions
from mms_engine.tts.synthesis import Synthesis


@dataclass(frozen=True, slots=True, eq=False)
class VoiceModel:
    """Graphs that speak with every voice of one size of network, and those voices."""

    graphs: VitsGraphs
    bank: VoiceBank
    synthesis: Synthesis

    def close(self) -> None:
        """Free the graphs and the voices. May be called twice."""
        self.synthesis.close()
        self.graphs.close()
        self.bank.storage.free()


def open_model(bundle: Bundle, options: SynthesizerOptions, model: str) -> VoiceModel:
    """Open the graphs of one size of network, and an empty bank of its voices.

    Args:
        bundle: Bundle of voices.
        options: Device, backend, precision, threads and memory.
        model: Key of `Manifest.models`; empty for the sizes of most voices.

    Raises:
        BundleError: the bundle is of another task, lacks the precision, or is damaged.
        BackendError: no backend here can run it.
    """
    graphs = load_graphs(bundle, options, model)
    try:
        threads = options.threads or usable_cores()
        bank = open_voice_bank(bundle, graphs, options, threads, model)
        return VoiceModel(graphs, bank, Synthesis(bundle.voice_sizes(model), graphs, bank, threads))
    except BaseException:
        graphs.close()
        raise


class VoiceModels:
    """Models of a bundle: that of most voices at once, others when a voice of theirs is used."""

    def __init__(self, bundle: Bundle, options: SynthesizerOptions) -> None:
        """Open the model of most voices; see `open_model`."""
        self._bundle = bundle
        self._options = options
        self._lock = threading.Lock()
        self._is_closed = False
        self.main = open_model(bundle, options, "")
        self._models = {"": self.main}

    def of(self, code: str) -> VoiceModel:
        """Return the model of a voice.

        Raises:
            LanguageError: the bundle does not have the voice.
            BundleError, BackendError: its graphs cannot be opened; see `open_model`.
        """
        key = self._bundle.entry(code).model
        with self._lock:
            if key not in self._models:
                if self._is_closed:
                    raise BackendError("the synthesizer is closed")
                self._models[key] = open_model(self._bundle, self._options, key)
            return self._models[key]

    def close(self) -> None:
        """Free every model. May be called twice."""
        with self._lock:
            self._is_closed = True
            for model in self._models.values():
                model.close()
