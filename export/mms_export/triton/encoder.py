"""Encoder for Triton: the adapter bank as weights of the graph, which is chosen by slot.

Triton's batcher prepends the batch to every input, and the bank has none: as inputs, adapters would
have to travel with each request, and requests could not share a batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from mms_engine.backends.session import Array, convert, minus_infinity, storage_dtype
from mms_engine.bank.bank import Resident
from mms_engine.bank.heads import PAGE_TOKENS, bank_shapes, in_pages, page_count, row_inputs
from mms_engine.bundle import AdapterWeights, Bundle
from mms_engine.bundle.manifest import Graph, Tensor, Wav2Vec2Ctc
from mms_export.graphs.builder import Weight
from mms_export.graphs.contract import MEANINGS
from mms_export.graphs.writer import ALIGNMENT, Advance, external

BANK = ("adapters", "head_weight", "head_bias")
BANK_FILE = "bank.data"
_SLOT = Tensor(name="slot", dtype="int64", shape=("batch",), meaning=MEANINGS["slot"])
_PAGES = "pages"


@dataclass(frozen=True, slots=True)
class BankLayout:
    """Tensors of a bank of all its languages, and their places in its file."""

    held: Mapping[str, Resident[None]]
    """Slot and pages of each language."""
    dtype: str
    weights: tuple[Weight, ...]
    offsets: tuple[int, ...]

    @property
    def pages(self) -> int:
        """Pages of a row, those of the widest language."""
        return max(len(own.pages) for own in self.held.values())

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
    held: dict[str, Resident[None]] = {}
    pages = 1
    for slot, language in enumerate(languages):
        own = range(pages, pages + page_count(vocabs[language]))
        held[language] = Resident(slot, None, tuple(own))
        pages = own.stop
    shapes = bank_shapes(
        model.adapter_parameters, model.hidden_size, slots=len(languages), pages=pages
    )
    weights = [Weight(name, dtype, shape, _unread) for name, shape in shapes.items()]
    offsets, end = [], 0
    for weight in weights:
        offsets.append(end)
        end += weight.nbytes + -weight.nbytes % ALIGNMENT
    return BankLayout(held, dtype, tuple(weights), tuple(offsets))


def _unread() -> Array:
    raise RuntimeError("a bank is written language by language")


def write_bank(bundle: Bundle, layout: BankLayout, folder: Path, advance: Advance) -> None:
    """Write the weights of every language, one language in memory at a time.

    Raises:
        BundleError: an adapter is missing or damaged.
        OSError: the file system refused.
    """
    padding = np.full(PAGE_TOKENS, minus_infinity(layout.dtype), storage_dtype(layout.dtype))
    with (folder / BANK_FILE).open("wb") as stream:
        stream.truncate(layout.size)
        stream.seek(layout.offsets[-1])
        stream.write(padding.tobytes())
        for language, own in layout.held.items():
            content = _content(bundle.adapter(language), layout.dtype)
            for weight, offset in zip(layout.weights, layout.offsets, strict=True):
                first = own.slot if weight.name == "adapters" else own.pages[0]
                stream.seek(offset + first * (weight.nbytes // weight.shape[0]))
                values = content[weight.name].tobytes()
                stream.write(values)
                advance(len(values))


def _content(weights: AdapterWeights, dtype: str) -> dict[str, Array]:
    """Return a language's rows of each tensor."""
    head_weight, head_bias = in_pages(weights.head_weight, weights.head_bias, dtype)
    adapter = convert(weights.adapter, dtype).astype(storage_dtype(dtype))
    return {"adapters": adapter, "head_weight": head_weight, "head_bias": head_bias}


def with_bank(graph: Graph, layout: BankLayout) -> Graph:
    """Return the entry of an encoder whose bank is in the graph: its vocabulary has a size."""
    vocab = layout.pages * PAGE_TOKENS

    def sized(tensor: Tensor) -> Tensor:
        shape = tuple(vocab if size == "vocab" else size for size in tensor.shape)
        return replace(tensor, shape=shape)

    inside = (*BANK, _PAGES, _SLOT.name)
    inputs = tuple(tensor for tensor in graph.inputs if tensor.name not in inside)
    return replace(graph, inputs=(*inputs, _SLOT), outputs=tuple(map(sized, graph.outputs)))


def encoder_model(path: Path, layout: BankLayout) -> ModelProto:
    """Return the encoder at `path` with the bank among its weights, which stay in their files.

    The slot of a row gives its pages, also in a model without adapters.
    """
    model = onnx.load(path, load_external_data=False)
    graph, inside = model.graph, (*BANK, _PAGES, _SLOT.name)
    kept = [value for value in graph.input if value.name not in inside]
    del graph.input[:]
    graph.input.extend(kept)
    graph.input.append(helper.make_tensor_value_info(_SLOT.name, TensorProto.INT64, _SLOT.shape))
    for weight, offset in zip(layout.weights, layout.offsets, strict=True):
        graph.initializer.append(external(weight, BANK_FILE, offset))
    held = list(layout.held.values())
    table = row_inputs(held, len(held), layout.pages)[_PAGES]
    graph.initializer.append(numpy_helper.from_array(table, "slot_pages"))
    graph.node.insert(0, helper.make_node("Gather", ["slot_pages", _SLOT.name], [_PAGES], axis=0))
    for value in graph.output:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == "vocab":
                size.dim_value = layout.pages * PAGE_TOKENS
    return model
