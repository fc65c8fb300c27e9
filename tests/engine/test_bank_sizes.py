"""Sizes of the adapter bank, and heads in pages."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mms_engine.bank.adapters import LanguageBytes, bank_options
from mms_engine.bank.bank import Resident
from mms_engine.bank.heads import in_pages, row_inputs
from mms_engine.bundle.manifest import Tensor
from mms_engine.errors import BundleError

LARGEST = LanguageBytes(adapter=8_604_672, page=327_936)
"""Bytes at the sizes of 1B in fp32."""


@pytest.mark.parametrize(
    ("sizes", "budget", "slots", "pages"),
    [
        ([3] * 1162, 1 << 30, 111, 360),
        ([3] * 1162, 1, 1, 3),
        ([3] * 3, 1 << 30, 3, 9),
        ([47] + [1] * 99, 1 << 30, 100, 146),  # all fit, though not at the widest one's size
        ([47] + [1] * 99, 1 << 29, 59, 88),
        ([47, 1], 1, 1, 47),
    ],
)
def test_cache_bytes_determine_slots_and_pages(
    sizes: list[int], budget: int, slots: int, pages: int
) -> None:
    found = LARGEST.fit(budget, sizes)
    assert found == (slots, pages)
    assert LARGEST.total(*found) <= budget or found == (1, sizes[0])


@given(
    sizes=st.lists(st.integers(1, 160), min_size=1, max_size=40),
    budget=st.integers(1, 1 << 22),
    adapter=st.sampled_from([0, 1000, 50_000]),
)
@example(sizes=[1, 1], budget=99_000, adapter=50_000)
def test_slots_and_pages_never_exceed_the_budget(
    sizes: list[int], budget: int, adapter: int
) -> None:
    sizes = sorted(sizes, reverse=True)
    cost = LanguageBytes(adapter, page=500)
    slots, pages = cost.fit(budget, sizes)
    assert 1 <= slots <= len(sizes)
    assert sizes[0] <= pages <= sum(sizes)
    is_least = pages == sizes[0] and (slots == 1 or not adapter)
    assert cost.total(slots, pages) <= budget or is_least
    if cost.total(len(sizes), sum(sizes)) <= budget:
        assert (slots, pages) == (len(sizes), sum(sizes))


@pytest.mark.parametrize("budget", [1 << 30, 1 << 28])
def test_bank_has_the_sizes_of_the_manifest(budget: int) -> None:
    model = SimpleNamespace(adapter_parameters=2_151_168, hidden_size=1280)
    vocabs = [30, 3000, 64, 65]
    data = {str(vocab): SimpleNamespace(vocab_size=vocab) for vocab in vocabs}
    manifest = SimpleNamespace(data=data)
    bundle = SimpleNamespace(model=lambda _: model, manifest=manifest, languages=tuple(data))
    inputs = [
        Tensor(name=name, dtype=dtype, shape=(), meaning="")
        for name, dtype in (("head_bias", "float32"), ("pages", "int64"))
    ]
    found = bank_options(bundle, inputs, budget)
    assert found.sizes == (47, 2, 1, 1)
    assert (found.slots, found.pages) == (4, 51)


def test_encoder_of_an_earlier_release_is_refused() -> None:
    bundle = SimpleNamespace(model=lambda _: None, path="old")
    inputs = [Tensor(name="head_bias", dtype="float32", shape=("slots", "vocab"), meaning="")]
    with pytest.raises(
        BundleError, match=r"old has an encoder of an earlier release.*: export the"
    ):
        bank_options(bundle, inputs, 1)


def test_head_fills_pages_with_impossible_tokens() -> None:
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(70, 4)), random.normal(size=70)
    head_weight, head_bias = in_pages(weight, bias, "float32")
    assert (head_weight.shape, head_bias.shape) == ((2, 64, 4), (2, 64))
    np.testing.assert_array_equal(head_weight.reshape(-1, 4)[:70], weight.astype(np.float32))
    np.testing.assert_array_equal(head_bias.reshape(-1)[:70], bias.astype(np.float32))
    assert not head_weight.reshape(-1, 4)[70:].any()
    assert np.isneginf(head_bias.reshape(-1)[70:]).all()


def test_rows_of_a_batch_have_their_own_slots_and_pages() -> None:
    held = [Resident(3, None, (7, 9)), Resident(0, None, (2,))]
    inputs = row_inputs(held, 4, 3)
    assert inputs["slot"].tolist() == [3, 0, 3, 3]
    assert inputs["pages"].tolist() == [[7, 9, 0], [2, 0, 0], [7, 9, 0], [7, 9, 0]]
