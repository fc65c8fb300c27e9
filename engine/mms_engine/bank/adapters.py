"""Adapter bank: resident languages, and the sizes of their slots."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from mms_engine.bank.bank import Bank, BankStorage
from mms_engine.bundle.adapters import AdapterWeights
from mms_engine.text.vocabulary import Vocabulary

StorageT = TypeVar("StorageT", bound=BankStorage[AdapterWeights])
AdapterBank: TypeAlias = Bank[AdapterWeights, Vocabulary, StorageT]
"""Bank whose keys are languages; `Resident.info` is the vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankOptions:
    """Sizes of an adapter bank."""

    adapter_parameters: int
    """P: values of one language's adapter."""
    hidden_size: int
    """H: weights of one token in a head."""
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
        lambda weights: Vocabulary(weights.vocab),
        storage,
        storage.write,
        slots=options.slots,
        wait_seconds=options.wait_seconds,
    )


def slots_within(
    budget: int, *, adapter_parameters: int, hidden_size: int, vocab: int, itemsize: int
) -> int:
    """Return the number of languages that fit in `budget` bytes, at least one."""
    row = (adapter_parameters + vocab * (hidden_size + 1)) * itemsize
    return max(1, budget // row)
