"""From speech to text: this project's engine, transformers, and faster-whisper."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mms_bench.errors import Skipped
from mms_bench.peers.base import Peer, Ready, Setup
from mms_bench.peers.engine import check_precision
from mms_engine.types import Float32Array, Precision

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """Clips in one language, transcribed in one call."""

    audio: tuple[Float32Array, ...]
    """Shape `[N]` each: 16 kHz, full scale ±1."""
    language: str
    lm: Path | None = None
    """Language model of a beam search; `None` for greedy decoding."""


class EngineText(Peer):
    """Recogniser of a bundle in one precision."""

    packages = ("mms-engine",)
    imports = ("onnxruntime", "mms_engine.asr.recognizer")

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self._wanted = cast("Precision", precision)
        self._lm: Path | None = None

    def build(self, setup: Setup) -> None:
        """Check that the bundle has the precision."""
        check_precision(setup, self._wanted)

    def load(self, setup: Setup) -> None:
        """Open the bundle for greedy decoding."""
        self._setup = setup
        self._recognizer = self._open()

    def ready(self, work: Speech) -> Ready:
        """Prepare clips; a change of the language model opens the bundle again."""
        if work.lm != self._lm:
            self._recognizer.close()
            self._lm = work.lm
            self._recognizer = self._open()
        return Ready(
            lambda: self._recognizer.transcribe(
                list(work.audio), work.language, sample_rate=SAMPLE_RATE
            ),
            lambda found: [transcript.text for transcript in found],
        )

    def _open(self) -> Any:  # noqa: ANN401 - imported late
        from mms_engine.asr.recognizer import Recognizer
        from mms_engine.decoding.options import BeamSearch

        return Recognizer.open(
            check_precision(self._setup, self._wanted),
            device=self._setup.device,
            backend=self._setup.backend,
            precision=self._wanted,
            threads=self._setup.threads,
            beam=None if self._lm is None else BeamSearch(lm=self._lm),
        )


class TransformersText(Peer):
    """`Wav2Vec2ForCTC` with its own feature extractor and tokenizer, greedy, a clip at a time."""

    packages = ("torch", "transformers")
    imports = ("torch", "transformers")

    def load(self, setup: Setup) -> None:
        """Load the checkpoint and the first language."""
        from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

        from mms_bench.peers.transformers import load_model

        self._language = setup.languages[0]
        self._model = load_model(setup)
        self._extract = Wav2Vec2FeatureExtractor.from_pretrained(setup.checkpoint)
        self._tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(
            setup.checkpoint, target_lang=self._language
        )

    def ready(self, work: Speech) -> Ready:
        """Prepare clips, and the adapter of their language."""
        if work.lm is not None:
            raise Skipped("is measured without a language model")
        if work.language != self._language:
            self._model.load_adapter(work.language)
            self._tokenizer.set_target_lang(work.language)
            self._language = work.language
        return Ready(lambda: [self._transcribe(samples) for samples in work.audio], list)

    def _transcribe(self, samples: Float32Array) -> str:
        import torch

        inputs = self._extract(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(inputs.input_values.to(self._model.device)).logits
        text: str = self._tokenizer.decode(logits[0].argmax(-1))
        return text


class FasterWhisper(Peer):
    """`WhisperModel` with its default beam, without conditioning on the text before."""

    packages = ("faster-whisper",)
    imports = ("faster_whisper",)

    def load(self, setup: Setup) -> None:
        """Load the model, from the hub's cache or downloaded if a name is given."""
        from faster_whisper import WhisperModel
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            self._model = WhisperModel(
                setup.whisper,
                device=setup.device,
                cpu_threads=setup.threads,
                compute_type="default",
            )
        except LocalEntryNotFoundError as error:
            raise Skipped(
                f"its model {setup.whisper} is not in the local hub cache and cannot be downloaded"
            ) from error

    def ready(self, work: Speech) -> Ready:
        """Prepare clips in a language of Whisper."""
        from mms_engine.languages import all_languages

        if work.lm is not None:
            raise Skipped("is measured without a language model")
        found = {language.code: language.iso1 for language in all_languages()}
        code = found.get(work.language) or work.language
        if code not in self._model.supported_languages:
            raise Skipped(f"Whisper has no {work.language}")
        return Ready(lambda: [self._transcribe(samples, code) for samples in work.audio], list)

    def _transcribe(self, samples: Float32Array, code: str) -> str:
        segments, _ = self._model.transcribe(
            samples, language=code, condition_on_previous_text=False
        )
        return "".join(segment.text for segment in segments).strip()
