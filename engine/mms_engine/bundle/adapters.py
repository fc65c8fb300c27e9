"""Adapter files, `adapters/<lang>.safetensors`: one language's adapter, head and vocabulary."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mms_engine.bundle.files import atomic_open
from mms_engine.errors import BundleCorrupt
from mms_engine.text.vocabulary import WORD_BOUNDARY, Vocabulary

FORMAT = "mms-adapter-1"
FloatArray = npt.NDArray[np.float16] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class AdapterWeights:
    """A language's adapter, head and vocabulary."""

    language: str
    adapter: FloatArray
    """Shape `[P]`: one row of the adapter bank."""
    head_weight: FloatArray
    """Shape `[V, H]`."""
    head_bias: FloatArray
    """Shape `[V]`."""
    vocab: tuple[str, ...]
    """V tokens, by id."""
    fingerprint: str
    """`Source.fingerprint` of the base model it was trained for."""
    word_delimiter: str | None = WORD_BOUNDARY
    """As `Vocabulary.word_delimiter`."""
    delimiter_text: str = " "
    """As `Vocabulary.delimiter_text`."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Tokens with their roles."""
        return Vocabulary(self.vocab, self.word_delimiter, self.delimiter_text)

    def part(self, language: str, rows: list[int]) -> "AdapterWeights":
        """Return the weights of a language that uses only some rows of the head."""
        return replace(
            self,
            language=language,
            head_weight=self.head_weight[rows],
            head_bias=self.head_bias[rows],
            vocab=tuple(self.vocab[row] for row in rows),
        )


def save_adapter(path: Path, weights: AdapterWeights) -> None:
    """Write an adapter file atomically; equal weights give equal bytes.

    Raises:
        BundleError: the file system refused.
    """
    tensors = {
        "adapter": weights.adapter,
        "head_bias": weights.head_bias,
        "head_weight": weights.head_weight,
    }
    # A single metadata key, because safetensors writes several in no fixed order.
    metadata = {
        "format": FORMAT,
        "language": weights.language,
        "fingerprint": weights.fingerprint,
        "vocab": list(weights.vocab),
        "word_delimiter": weights.word_delimiter,
        "delimiter_text": weights.delimiter_text,
    }
    document = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    content = save(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        metadata={"mms": document},
    )
    # Not save_file, whose files only their owner can read.
    with atomic_open(path) as stream:
        stream.write(content)


def read_vocabulary(path: Path) -> Vocabulary:
    """Return a language's vocabulary from the header of its file.

    Raises:
        BundleCorrupt: the file is not an adapter of this format.
    """
    try:
        with safe_open(str(path), framework="numpy") as reader:
            metadata: dict[str, Any] = json.loads((reader.metadata() or {})["mms"])
            return Vocabulary(tuple(metadata["vocab"]), *_delimiter(metadata))
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise _not_an_adapter(path, error) from error


def load_adapter(path: Path) -> AdapterWeights:
    """Read an adapter file.

    Raises:
        BundleCorrupt: the file is not an adapter of this format.
    """
    try:
        with safe_open(str(path), framework="numpy") as reader:
            metadata: dict[str, Any] = json.loads((reader.metadata() or {})["mms"])
            if metadata["format"] != FORMAT:
                raise KeyError("format")
            delimiter, delimiter_text = _delimiter(metadata)
            return AdapterWeights(
                language=metadata["language"],
                adapter=reader.get_tensor("adapter"),
                head_weight=reader.get_tensor("head_weight"),
                head_bias=reader.get_tensor("head_bias"),
                vocab=tuple(metadata["vocab"]),
                fingerprint=metadata["fingerprint"],
                word_delimiter=delimiter,
                delimiter_text=delimiter_text,
            )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _not_an_adapter(path, error) from error


def _delimiter(metadata: dict[str, Any]) -> tuple[str | None, str]:
    """Return the word delimiter and its text, which early bundles of the schema do not name."""
    return metadata.get("word_delimiter", WORD_BOUNDARY), str(metadata.get("delimiter_text", " "))


def _not_an_adapter(path: Path, error: Exception) -> BundleCorrupt:
    return BundleCorrupt(
        f"{path} is not an adapter of format {FORMAT} ({error}): export the bundle again"
    )
