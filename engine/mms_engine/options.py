"""What a caller may choose, in one place, with its default."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mms_engine.bundle.schema import Precision
from mms_engine.windows import WindowOptions

Device = Literal["auto", "cpu", "cuda"]
Backend = Literal["ort-cpu", "ort-cuda", "tensorrt", "tensorrt-rtx"]
Decoder = Literal["greedy", "beam"]
LmUnit = Literal["auto", "word", "token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearch:
    """What the prefix beam search looks for.

    That is the text with the greatest
    `ln P(text | audio) + lm_weight * log10 P(text) + word_score * units + weights of its hotwords`.
    """

    beam_size: int = 50
    """Hypotheses that are kept in each frame."""
    nbest: int = 1
    """Different texts in `Transcript.alternatives`, where there is more than one."""
    lm: Path | None = None
    """Language model: ARPA, plain or gzip; what `mms lm convert` made of one; or a KenLM binary.
    Of the language that is transcribed: it is used for every language."""
    lm_unit: LmUnit = "auto"
    """What the model's n-grams, and `word_score`, count: words, or the vocabulary's tokens.
    `auto` takes words where the language's vocabulary has a boundary between them."""
    lm_weight: float = 1.0
    """Nats for each factor of ten in the model's probability."""
    word_score: float | None = None
    """Nats for each unit: above 0 for more and shorter words. `None` for 2 with a language model
    of words, which makes up for what the model takes from each, and else 0."""
    hotwords: Mapping[str, float] = field(default_factory=dict)
    """Phrases and what each occurrence adds, in nats."""

    def __post_init__(self) -> None:
        if not 1 <= self.nbest <= self.beam_size:
            raise ValueError(
                f"nbest is {self.nbest}, it must be from 1 to the beam's {self.beam_size}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizerOptions:
    """How a bundle is run."""

    device: Device = "auto"
    """`auto` takes CUDA where it works, else the CPU."""
    backend: Backend | None = None
    """The library that runs it; `None` takes the first that can, TensorRT before others."""
    precision: Precision | None = None
    """`None` takes the first one the bundle has of fp32, int8, fp16 on a CPU,
    of fp16, bf16, fp32, int8 on a GPU."""
    threads: int = 0
    """Threads of one run on a CPU; 0 for every core this process may use."""
    verify: bool = True
    """Whether each file of the bundle is checked against its SHA-256 before it is used."""
    batch_frames: int = 0
    """Frames of one encoder run, padding included (20 ms each): the bound on memory.
    0 for the device's own: one full window on a CPU, sixteen on a GPU."""
    pool_seconds: float = 300.0
    """Audio read ahead, so that rows of like length can share a batch."""
    bank_bytes: int = 0
    """Memory for resident adapters; at 1B a language takes about 10 MB in fp32, 5 MB in fp16.
    0 for the device's own: 1 GiB of a host's, three quarters of what is free on a GPU."""
    salvage: bool = False
    """Whether a file that is cut off or damaged gives what can be decoded of it, not an error."""
    windows: WindowOptions = field(default_factory=WindowOptions)
    decoder: Decoder = "greedy"
    """`greedy` takes the most likely token of each frame; `beam` searches, as `beam` says."""
    beam: BeamSearch | None = None
    """`None` for its defaults."""

    def __post_init__(self) -> None:
        if min(self.threads, self.batch_frames, self.bank_bytes) < 0 or self.pool_seconds <= 0:
            raise ValueError(
                f"sizes must be positive (0 threads, frames or bytes: the default): {self}"
            )
        if self.beam is not None and self.decoder != "beam":
            raise ValueError(f"a beam search needs decoder='beam', not {self.decoder!r}")
