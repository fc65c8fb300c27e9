"""Adapter bank: resident languages, and the sizes of their slots."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias, TypeVar

from mms_engine.backends.session import storage_dtype
from mms_engine.bank.bank import Bank, BankStorage
from mms_engine.bank.heads import PAGE_TOKENS, page_count
from mms_engine.bundle.adapters import AdapterWeights
from mms_engine.bundle.manifest import Manifest, Tensor, Wav2Vec2Ctc
from mms_engine.bundle.reader import Bundle
from mms_engine.errors import BundleCorrupt, BundleError
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
    dtype: str
    """Dtype of the graph's inputs: `float32`, `float16` or `bfloat16`."""
    slots: int
    """R: languages that can be resident at once."""
    pages: int
    """Pages that their heads can take at once, without that of padding."""
    sizes: tuple[int, ...]
    """Pages of each language's head, or more, largest first."""
    wait_seconds: float = 60.0
    """Seconds that `acquire` waits for room."""


@dataclass(frozen=True, slots=True)
class LanguageBytes:
    """Bytes of resident languages."""

    adapter: int
    """Bytes of a slot."""
    page: int
    """Bytes of a page of a head."""

    @classmethod
    def of(cls, model: Wav2Vec2Ctc, dtype: str) -> Self:
        """Return the bytes in a dtype of the graph's inputs."""
        size = storage_dtype(dtype).itemsize
        return cls(model.adapter_parameters * size, PAGE_TOKENS * (model.hidden_size + 1) * size)

    def total(self, slots: int, pages: int) -> int:
        """Return the bytes of a bank, with its page of padding."""
        return slots * self.adapter + (1 + pages) * self.page

    def fit(self, budget: int, sizes: Sequence[int]) -> tuple[int, int]:
        """Return the slots and pages that fit in memory: those of all languages, if they do.

        Otherwise slots are those of languages of the mean size, and pages take the rest. Each
        language fits alone in any case.

        Args:
            budget: Bytes for resident languages.
            sizes: Pages of each language's head, largest first.
        """
        count, pages = len(sizes), sum(sizes)
        if self.total(count, pages) <= budget:
            return count, pages
        slots = count
        if self.adapter:
            rest = budget - self.total(0, 0)
            mean = self.adapter + self.page * pages / count
            slots = min(int(rest / mean), (rest - sizes[0] * self.page) // self.adapter)
            slots = max(1, min(slots, count))
        left = (budget - self.total(slots, 0)) // self.page
        return slots, max(sizes[0], min(pages, left))


def adapter_bank(
    load: Callable[[str], AdapterWeights],
    vocab_size: Callable[[str], int],
    options: BankOptions,
    storage: StorageT,
) -> AdapterBank[StorageT]:
    """Return an empty bank of languages.

    Args:
        load: Function that reads a language's weights.
        vocab_size: Function that returns the tokens of a language's vocabulary.
        options: Sizes of the bank.
        storage: Memory of slots and pages.
    """
    return Bank(
        load,
        lambda weights: weights.vocabulary,
        storage,
        slots=options.slots,
        pages=options.pages,
        sizes=options.sizes,
        page_count=functools.cache(lambda language: page_count(vocab_size(language))),
        wait_seconds=options.wait_seconds,
    )


def head_sizes(manifest: Manifest) -> list[int]:
    """Return the pages of the heads of a bundle's data files, largest first."""
    sizes = (page_count(entry.vocab_size) for entry in manifest.data.values())
    return sorted(sizes, reverse=True) or [1]


def bank_options(bundle: Bundle, inputs: Iterable[Tensor], budget: int) -> BankOptions:
    """Return the sizes of a bank for the languages of a bundle.

    Args:
        bundle: Bundle of the languages.
        inputs: Inputs of the encoder.
        budget: Bytes for resident languages; one fits in any case.

    Raises:
        BundleError: the graph is one of an earlier release, whose heads have no pages.
        BundleCorrupt: the encoder has no input `head_bias`, or none of floating-point numbers.
    """
    model = bundle.model(Wav2Vec2Ctc)
    dtypes = {tensor.name: tensor.dtype for tensor in inputs}
    dtype = dtypes.get("head_bias")
    if dtype not in _DTYPES:
        raise BundleCorrupt(f"{bundle.path}: the encoder's input `head_bias` is {dtype}")
    if "pages" not in dtypes:
        raise BundleError(
            f"{bundle.path} has an encoder of an earlier release, whose heads are not in pages: "
            "export the bundle again, with its plans if it has any"
        )
    sizes = head_sizes(bundle.manifest)
    # A language whose vocabulary is part of a larger one may have all of it.
    sizes = [sizes[0]] * (len(bundle.languages) - len(sizes)) + sizes
    slots, pages = LanguageBytes.of(model, dtype).fit(budget, sizes)
    return BankOptions(
        adapter_parameters=model.adapter_parameters,
        hidden_size=model.hidden_size,
        dtype=dtype,
        slots=slots,
        pages=pages,
        sizes=tuple(sizes),
    )
