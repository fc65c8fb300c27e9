"""Encoder for Triton: the adapter bank as weights of the graph, which is chosen by slot.

Triton's batcher prepends the batch to every input, and the bank has none: as inputs, adapters would
have to travel with each request, and requests could not share a batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from mms_engine.backends.session import Array, convert, minus_infinity, storage_dtype
from mms_engine.bundle import AdapterWeights, Bundle
from mms_engine.bundle.manifest import Graph, Tensor, Wav2Vec2Ctc
from mms_export.graphs.builder import Weight
from mms_export.graphs.writer import ALIGNMENT, Advance, external

BANK = ("adapters", "head_weight", "head_bias")
BANK_FILE = "bank.data"


@dataclass(frozen=True, slots=True)
class BankLayout:
    """Tensors of a bank of all its languages, and their places in its file."""

    languages: tuple[str, ...]
    """By slot."""
    dtype: str
    vocab: int
    """V: tokens of the largest vocabulary."""
    weights: tuple[Weight, ...]
    offsets: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.offsets[-1] + self.weights[-1].nbytes


def bank_layout(
    model: Wav2Vec2Ctc, dtype: str, vocabs: Mapping[str, int], languages: Sequence[str]
) -> BankLayout:
    """Return the layout of a bank.

    Args:
        model: Model of the bundle.
        dtype: Dtype of the bank, that of the graph's operands.
        vocabs: Size of each language's vocabulary.
        languages: Languages, by slot.
    """
    slots, vocab = len(languages), max(vocabs[language] for language in languages)
    shapes = {
        "adapters": (slots, model.adapter_parameters),
        "head_weight": (slots, vocab, model.hidden_size),
        "head_bias": (slots, vocab),
    }
    names = BANK if model.adapter_parameters else BANK[1:]
    weights = [Weight(name, dtype, shapes[name], _unread) for name in names]
    offsets, end = [], 0
    for weight in weights:
        offsets.append(end)
        end += weight.nbytes + -weight.nbytes % ALIGNMENT
    return BankLayout(tuple(languages), dtype, vocab, tuple(weights), tuple(offsets))


def _unread() -> Array:
    raise RuntimeError("a bank is written row by row")


def write_bank(bundle: Bundle, layout: BankLayout, folder: Path, advance: Advance) -> None:
    """Write the weights of every language, one language in memory at a time.

    Raises:
        BundleError: an adapter is missing or damaged.
        OSError: the file system refused.
    """
    with (folder / BANK_FILE).open("wb") as stream:
        stream.truncate(layout.size)
        for slot, language in enumerate(layout.languages):
            rows = _rows(bundle.adapter(language), layout)
            for offset, row in zip(layout.offsets, rows, strict=True):
                stream.seek(offset + slot * row.nbytes)
                stream.write(row.tobytes())
                advance(row.nbytes)


def _rows(weights: AdapterWeights, layout: BankLayout) -> Iterator[Array]:
    """Yield a language's rows of the bank, padded to its largest vocabulary."""
    dtype, size = layout.dtype, len(weights.vocab)
    for weight in layout.weights:
        row = np.zeros(weight.shape[1:], storage_dtype(dtype))
        if weight.name == "adapters":
            row[:] = convert(weights.adapter, dtype)
        elif weight.name == "head_weight":
            row[:size] = convert(weights.head_weight, dtype)
        else:
            row[:size] = convert(weights.head_bias, dtype)
            row[size:] = minus_infinity(dtype)
        yield row


def with_bank(graph: Graph, layout: BankLayout) -> Graph:
    """Return the entry of an encoder whose bank is in the graph: its vocabulary has a size."""

    def sized(tensor: Tensor) -> Tensor:
        shape = tuple(layout.vocab if size == "vocab" else size for size in tensor.shape)
        return replace(tensor, shape=shape)

    inputs = tuple(tensor for tensor in graph.inputs if tensor.name not in BANK)
    return replace(graph, inputs=inputs, outputs=tuple(map(sized, graph.outputs)))


def encoder_model(path: Path, layout: BankLayout) -> ModelProto:
    """Return the encoder at `path` with the bank among its weights, which stay in their files."""
    model = onnx.load(path, load_external_data=False)
    kept = [value for value in model.graph.input if value.name not in BANK]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for weight, offset in zip(layout.weights, layout.offsets, strict=True):
        model.graph.initializer.append(external(weight, BANK_FILE, offset))
    for value in model.graph.output:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == "vocab":
                size.dim_value = layout.vocab
    return model
