"""Adapter bank: resident languages, and the sizes of their slots."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from mms_engine.backends.session import storage_dtype
from mms_engine.bank.bank import Bank, BankStorage
from mms_engine.bundle.adapters import AdapterWeights
from mms_engine.bundle.manifest import Tensor, Wav2Vec2Ctc
from mms_engine.bundle.reader import Bundle
from mms_engine.errors import BundleCorrupt
from mms_engine.text.vocabulary import Vocabulary

_DTYPES = ("float32", "float16", "bfloat16")

StorageT = TypeVar("StorageT", bound=BankStorage[AdapterWeights])
AdapterBank: TypeAlias = Bank[AdapterWeights, Vocabulary, StorageT]
"""Bank whose keys are languages; `Resident.info` is the vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankOptions:
    """Sizes of an adapter bank."""

    adapter_parameters: int
    """P: values of one language's adapter; 0 for a model without adapters."""
    hidden_size: int
    """H: weights of one token in a head."""
    vocab: int
    """V: tokens of the largest vocabulary."""
    dtype: str
    """Dtype of the graph's inputs: `float32`, `float16` or `bfloat16`."""
    slots: int
    """R: languages that can be resident at once."""
    wait_seconds: float = 60.0
    """Seconds that `acquire` waits for a slot."""


def adapter_bank(
    load: Callable[[str], AdapterWeights], options: BankOptions, storage: StorageT
) -> AdapterBank[StorageT]:
    """Return an empty bank of languages.

    Args:
        load: Function that reads a language's weights.
        options: Sizes of the bank.
        storage: Memory of the slots.
    """
    return Bank(
        load,
        lambda weights: weights.vocabulary,
        storage,
        slots=options.slots,
        wait_seconds=options.wait_seconds,
    )


def slot_values(model: Wav2Vec2Ctc, vocab: int) -> int:
    """Return the number of values of a slot, with a head of V tokens."""
    return model.adapter_parameters + vocab * (model.hidden_size + 1)


def bank_options(bundle: Bundle, inputs: Iterable[Tensor], budget: int) -> BankOptions:
    """Return the sizes of a bank for the languages of a bundle.

    Args:
        bundle: Bundle of the languages.
        inputs: Inputs of the encoder.
        budget: Bytes for resident languages; one fits in any case.

    Raises:
        BundleCorrupt: the encoder has no input `head_bias`, or none of floating-point numbers.
    """
    model, entries = bundle.model(Wav2Vec2Ctc), bundle.manifest.data.values()
    dtype = next((tensor.dtype for tensor in inputs if tensor.name == "head_bias"), None)
    if dtype not in _DTYPES:
        raise BundleCorrupt(f"{bundle.path}: the encoder's input `head_bias` is {dtype}")
    vocab = max((entry.vocab_size for entry in entries), default=1)
    slots = budget // (slot_values(model, vocab) * storage_dtype(dtype).itemsize)
    return BankOptions(
        adapter_parameters=model.adapter_parameters,
        hidden_size=model.hidden_size,
        vocab=vocab,
        dtype=dtype,
        slots=max(1, min(slots, len(bundle.languages))),
    )
