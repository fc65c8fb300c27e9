"""Speech synthesis: this project's engine, transformers, and sherpa-onnx, on the same voices.

All are asked for speech without noise, which makes their samples comparable.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from mms_bench.errors import Skipped
from mms_bench.peers.base import Peer, Ready, Setup, Switch
from mms_bench.peers.engine import check_precision
from mms_engine.types import Float32Array, Precision


@dataclass(frozen=True, slots=True)
class Sentence:
    """Text spoken in one call."""

    text: str
    """Letters of the voice and spaces."""
    voice: str
    first: bool = False
    """Whether the call ends at the first audio that a caller can play."""


class VoicePeer(Peer):
    """Base class of implementations of speech synthesis."""

    def load(self, setup: Setup) -> None:
        """Load the voices."""
        self._setup = setup
        for voice in setup.languages:
            self.read(voice)

    def read(self, voice: str) -> None:
        """Make a voice ready to speak."""
        raise NotImplementedError

    def speak(self, text: str, voice: str) -> Any:  # noqa: ANN401
        """Return the samples of a text, as an array or a list."""
        raise NotImplementedError

    def ready(self, work: Sentence | Switch) -> Ready:
        """Prepare a sentence, or a change of the voice."""
        if isinstance(work, Switch):
            voices = itertools.cycle(work.languages)
            return Ready(lambda: self.read(next(voices)))
        return Ready(self.call(work), lambda samples: np.asarray(samples, np.float32))

    def call(self, work: Sentence) -> Callable[[], Any]:
        """Return the call that speaks; without streaming, the first audio is the whole."""
        return lambda: self.speak(work.text, work.voice)


class EngineVoices(VoicePeer):
    """The engine in one precision, with its bank of voices."""

    packages = ("mms-engine",)
    imports = ("onnxruntime", "mms_engine.tts.synthesizer")

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def build(self, setup: Setup) -> None:
        """Check that the bundle has the precision; exporting is measured elsewhere."""
        check_precision(setup, cast("Precision", self.precision))

    def load(self, setup: Setup) -> None:
        """Open the bundle, and bring the voices into the bank."""
        from mms_engine.tts.options import SpeechOptions, SynthesizerOptions
        from mms_engine.tts.synthesizer import Synthesizer

        options = SynthesizerOptions(
            device=setup.device,
            backend=setup.backend,
            precision=cast("Precision", self.precision),
            threads=setup.threads,
            voice_cache_bytes=1 if setup.one_language else 8 << 30,
        )
        bundle = check_precision(setup, cast("Precision", self.precision))
        self._synthesizer = Synthesizer.open(bundle, options=options)
        self._options = SpeechOptions(
            noise_scale=0, noise_scale_duration=0, pause_scale=0, short_letters=0
        )
        super().load(setup)

    def read(self, voice: str) -> None:
        """Bring a voice into the bank, as the first sentence in it does."""
        self._synthesizer.preload([voice])

    def speak(self, text: str, voice: str) -> Float32Array:
        """Return the samples of a text."""
        return self._synthesizer.synthesize(text, voice, options=self._options).samples

    def call(self, work: Sentence) -> Callable[[], Any]:
        """Return the call that speaks, or that returns the first chunk."""
        if not work.first:
            return super().call(work)

        def first() -> Float32Array:
            chunks = self._synthesizer.speak(work.text, work.voice, options=self._options)
            try:
                return next(chunks).samples
            finally:
                chunks.close()

        return first


class TransformersVoices(VoicePeer):
    """`VitsModel` and `VitsTokenizer`, a model for each voice."""

    packages = ("torch", "transformers")
    imports = ("torch", "transformers")

    def load(self, setup: Setup) -> None:
        """Load the voices."""
        import torch

        torch.set_num_threads(setup.threads or torch.get_num_threads())
        self._models: dict[str, tuple[Any, Any]] = {}
        super().load(setup)

    def read(self, voice: str) -> None:
        """Load a model and its tokenizer."""
        from transformers import VitsModel, VitsTokenizer

        folder = voice_folder(self._setup, voice)
        model = VitsModel.from_pretrained(folder, local_files_only=True).eval()
        model.noise_scale = model.noise_scale_duration = 0.0
        # Another pad token, or no blank stands beside that of tokenizer_config.json.
        tokenizer = VitsTokenizer.from_pretrained(folder, pad_token="<pad>")  # noqa: S106
        self._models[voice] = tokenizer, model

    def speak(self, text: str, voice: str) -> Float32Array:
        """Return the samples of a text."""
        import torch

        tokenizer, model = self._models[voice]
        with torch.inference_mode():
            samples: Float32Array = (
                model(**tokenizer(text, return_tensors="pt")).waveform[0].numpy()
            )
        return samples


class SherpaOnnx(VoicePeer):
    """`sherpa_onnx.OfflineTts` on the exported graph, a session for each voice."""

    packages = ("sherpa-onnx", "onnx", "torch", "transformers")
    imports = ("sherpa_onnx",)

    def build(self, setup: Setup) -> None:
        """Export the graphs."""
        for voice in setup.languages:
            self._graph(setup, voice)

    def load(self, setup: Setup) -> None:
        """Open the sessions."""
        self._sessions: dict[str, Any] = {}
        super().load(setup)

    def read(self, voice: str) -> None:
        """Open a session."""
        import sherpa_onnx

        graph = self._graph(self._setup, voice)
        vits = sherpa_onnx.OfflineTtsVitsModelConfig(
            model=str(graph),
            tokens=str(graph.with_name("tokens.txt")),
            noise_scale=0.0,
            noise_scale_w=0.0,
        )
        threads = self._setup.threads
        model = sherpa_onnx.OfflineTtsModelConfig(vits=vits, num_threads=threads)
        self._sessions[voice] = sherpa_onnx.OfflineTts(sherpa_onnx.OfflineTtsConfig(model=model))

    def speak(self, text: str, voice: str) -> Any:  # noqa: ANN401
        """Return the samples of a text, a list."""
        return self._sessions[voice].generate(text).samples

    def _graph(self, setup: Setup, voice: str) -> Path:
        from mms_bench.peers.vits_onnx import sherpa_graph

        return sherpa_graph(setup, voice_folder(setup, voice))


def voice_folder(setup: Setup, voice: str) -> Path:
    """Return the folder of a voice in the layout of the hub; Skipped if it is in another."""
    from mms_export.checkpoints.voices import open_voice_folder

    found = open_voice_folder(setup.checkpoint, name=setup.checkpoint.name, languages=voice)
    folder = found.voices[voice].path.parent
    if not (folder / "model.safetensors").is_file():
        raise Skipped("reads the layout of the hub only")
    return folder
