"""The chunked pipeline of transformers: chunks with strides on both sides, whose logits are cut."""

import math
import time
from dataclasses import dataclass
from typing import Any

from mms_bench.errors import WorkerFailed
from mms_bench.peers.base import Setup
from mms_bench.peers.transformers import Transformers, load_model
from mms_bench.streaming.recordings import Recording
from mms_bench.streaming.shown import Display, Shown


@dataclass(frozen=True, slots=True)
class Chunks:
    """Settings of the pipeline, all in seconds."""

    length: float
    """`chunk_length_s`, both strides included."""
    left: float
    right: float

    @property
    def name(self) -> str:
        """Left stride, what is kept, right stride."""
        kept = self.length - self.left - self.right
        return f"pipeline {self.left:g}/{kept:g}/{self.right:g}"

    def heard_at(self, end: float, seconds: float) -> float:
        """Return how much audio the chunk needs that gives the text at `end`.

        Args:
            end: Seconds.
            seconds: Length of the recording, which the last chunk gives to its end.
        """
        step = self.length - self.left - self.right
        chunk = max(0, math.ceil((end - (self.length - self.right)) / step))
        return min(self.length + chunk * step, seconds)


CHUNKS = (Chunks(10.0, 4.0, 2.0), Chunks(6.0, 4.0, 1.0))
"""The chunks of the article on it (https://huggingface.co/blog/asr-chunking), and shorter ones."""


class ChunkedPipeline:
    """`pipeline("automatic-speech-recognition")` on a checkpoint, one language at a time.

    It takes a whole recording. As it never revises text, what it would show live follows from its
    chunks: the words of one once its audio is there, right stride included.
    """

    def __init__(self, setup: Setup, chunks: Chunks) -> None:
        """Load the model.

        Raises:
            NotHere: transformers is not installed.
        """
        self.versions = Transformers().version()
        self._setup = setup
        self._chunks = chunks
        self._model = load_model(setup)
        self._pipelines: dict[str, Any] = {}

    def hear(self, recording: Recording) -> tuple[list[Shown], float]:
        """Return what is shown of a recording, and the processor seconds that took.

        Raises:
            WorkerFailed: the pipeline failed.
        """
        pipeline = self._pipeline(recording.language)
        self._model.load_adapter(recording.language)
        chunks = self._chunks
        begin = time.process_time()
        try:
            found = pipeline(
                {"raw": recording.samples, "sampling_rate": 16_000},
                chunk_length_s=chunks.length,
                stride_length_s=(chunks.left, chunks.right),
                return_timestamps="word",
            )
        except (ValueError, RuntimeError) as error:
            raise WorkerFailed(f"the pipeline failed: {error}") from error
        taken = time.process_time() - begin
        # Each word on its own: it is shown once, and stays.
        return [
            Shown((Display(chunks.heard_at(word["timestamp"][1], recording.seconds), (text,)),))
            for word in found["chunks"]
            for text in word["text"].split()
        ], taken

    def _pipeline(self, language: str) -> Any:  # noqa: ANN401 - transformers is not typed
        import transformers

        if language not in self._pipelines:
            folder = self._setup.checkpoint
            self._pipelines[language] = transformers.pipeline(
                "automatic-speech-recognition",
                model=self._model,
                tokenizer=transformers.Wav2Vec2CTCTokenizer.from_pretrained(
                    folder, target_lang=language
                ),
                feature_extractor=transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder),
                device="cpu",
            )
        return self._pipelines[language]
