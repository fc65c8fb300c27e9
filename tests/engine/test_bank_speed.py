"""Speed of the bank at the size of facebook/mms-1b-all."""

import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from mms_engine.bank.adapters import AdapterBank, BankOptions, adapter_bank
from mms_engine.bank.host import HostBank
from mms_engine.bundle import AdapterWeights, load_adapter, save_adapter
from mms_engine.bundle.files import digest

P, H, V = 2_151_168, 1280, 154
CODES = ("aaa", "bbb", "ccc", "ddd")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> AdapterBank:
    """Three slots for four languages of 4.7 MB, each checked when it is read."""
    folder = tmp_path_factory.mktemp("adapters")
    random = np.random.default_rng(0)
    for code in CODES:
        sizes = {"adapter": (P,), "head_weight": (V, H), "head_bias": (V,)}
        arrays = {name: random.random(size).astype(np.float16) for name, size in sizes.items()}
        vocab = tuple(f"t{i}" for i in range(V))
        weights = AdapterWeights(language=code, vocab=vocab, fingerprint="", **arrays)
        save_adapter(folder / code, weights)

    def load(code: str) -> AdapterWeights:
        path: Path = folder / code
        digest(path)
        return load_adapter(path)

    sizes = BankOptions(
        adapter_parameters=P, hidden_size=H, dtype="float32", slots=3, pages=9, sizes=(3, 3, 3, 3)
    )
    return adapter_bank(load, lambda _: V, sizes, HostBank(sizes))


def switches(bank: AdapterBank, codes: Iterator[str]) -> list[float]:
    times = []
    for code in codes:
        began = time.perf_counter()
        with bank.acquire([code]):
            bank.storage.constants()
        times.append(1000 * (time.perf_counter() - began))
    return times


@pytest.mark.parametrize(
    ("codes", "milliseconds"), [(CODES[:2], 0.2), (CODES, 20)], ids=["resident", "loaded from disk"]
)
def test_language_switch_is_fast(
    bank: AdapterBank, codes: tuple[str, ...], milliseconds: float
) -> None:
    """Two languages stay resident in three slots; of four in turn each is loaded from disk."""
    switches(bank, iter(codes))
    # The best of many: other processes may be running.
    assert min(switches(bank, islice(cycle(codes), 50))) < milliseconds
