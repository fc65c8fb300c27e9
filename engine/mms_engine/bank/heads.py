"""Heads of languages in pages of 64 tokens, and the pages and slots of a batch.

A head takes the pages of its own vocabulary, anywhere in the bank. A run gathers the pages of each
row, and computes as many tokens as the widest language of its batch has.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mms_engine.backends.session import Array, convert, minus_infinity, storage_dtype
from mms_engine.bank.bank import Resident

Int64Array = npt.NDArray[np.int64]
PAGE_TOKENS = 64
"""Tokens of a page."""
PADDING_PAGE = 0
"""Page of no language, for rows with fewer pages than others: its logits are -inf."""


def page_count(vocab: int) -> int:
    """Return the number of pages of a vocabulary."""
    return -(-vocab // PAGE_TOKENS)


def bank_shapes(
    adapter_parameters: int, hidden_size: int, *, slots: int, pages: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the bank's arrays by their names in the graph.

    Args:
        adapter_parameters: P; 0 for a model without adapters, which has no array of them.
        hidden_size: H.
        slots: R.
        pages: Pages with that of padding.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "head_weight": (pages, PAGE_TOKENS, hidden_size),
        "head_bias": (pages, PAGE_TOKENS),
    }
    return {"adapters": (slots, adapter_parameters), **shapes} if adapter_parameters else shapes


def in_pages(head_weight: Array, head_bias: Array, dtype: str) -> tuple[Array, Array]:
    """Return a head in pages: weights `[pages, 64, H]` and biases `[pages, 64]`.

    Behind the vocabulary weights are zero and biases -inf.

    Args:
        head_weight: Weights of a language, `[V, H]`.
        head_bias: Biases of a language, `[V]`.
        dtype: Dtype of the graph's inputs, in whose storage they are returned.
    """
    vocab, hidden = head_weight.shape
    shape = (page_count(vocab), PAGE_TOKENS)
    weight = np.zeros((*shape, hidden), storage_dtype(dtype))
    bias = np.full(shape, minus_infinity(dtype), storage_dtype(dtype))
    weight.reshape(-1, hidden)[:vocab] = convert(head_weight, dtype)
    bias.reshape(-1)[:vocab] = convert(head_bias, dtype)
    return weight, bias


def row_inputs(held: Sequence[Resident[Any]], rows: int, pages: int) -> dict[str, Int64Array]:
    """Return the inputs that choose the language of each row: `slot` `[B]`, `pages` `[B, pages]`.

    Args:
        held: Language of each row; further rows have the first.
        rows: B.
        pages: Pages of a row; those beyond a language's own are padding.
    """
    padded = [*held, *[held[0]] * (rows - len(held))]
    slots = np.array([resident.slot for resident in padded], np.int64)
    table = np.full((rows, pages), PADDING_PAGE, np.int64)
    for row, resident in enumerate(padded):
        table[row, : len(resident.pages)] = resident.pages
    return {"slot": slots, "pages": table}
