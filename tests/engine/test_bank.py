"""The adapter bank: what is resident, what leaves, and what a run sees meanwhile."""

import threading
import time
from collections import Counter

import numpy as np
import pytest

from mms_engine.bank.adapters import AdapterBank, BankOptions, adapter_bank, slots_within
from mms_engine.bank.host import HostBank
from mms_engine.bundle import AdapterWeights
from mms_engine.errors import BackendError, LanguageError

P, H = 6, 4
VOCABS = {"aaa": 5, "bbb": 9, "ccc": 70, "ddd": 5, "eee": 130}


def weights(language: str, dtype: str = "float16") -> AdapterWeights:
    seed = np.random.default_rng(sum(map(ord, language)))
    vocab = VOCABS[language]
    return AdapterWeights(
        language=language,
        adapter=seed.normal(size=P).astype(dtype),
        head_weight=seed.normal(size=(vocab, H)).astype(dtype),
        head_bias=seed.normal(size=vocab).astype(dtype),
        vocab=tuple(f"{language}{i}" for i in range(vocab)),
        fingerprint="",
    )


class Disk:
    """Loads adapters and counts how often."""

    def __init__(self, delay: float = 0.0) -> None:
        self.loads: Counter[str] = Counter()
        self.delay = delay

    def __call__(self, language: str) -> AdapterWeights:
        if language not in VOCABS:
            raise LanguageError(f"no {language}")
        self.loads[language] += 1
        time.sleep(self.delay)
        return weights(language)


def make(slots: int, disk: Disk | None = None, **options: object) -> AdapterBank[HostBank]:
    sizes = BankOptions(
        adapter_parameters=P, hidden_size=H, slots=slots, **{"dtype": "float32", **options}
    )
    return adapter_bank(disk or Disk(), sizes, HostBank(sizes))


def check_row(bank: AdapterBank, language: str, slot: int) -> None:
    expected = weights(language)
    vocab = VOCABS[language]
    arrays = {name: constant.array[slot] for name, constant in bank.storage.constants().items()}
    np.testing.assert_array_equal(arrays["adapters"], expected.adapter)
    np.testing.assert_array_equal(arrays["head_weight"][:vocab], expected.head_weight)
    np.testing.assert_array_equal(arrays["head_bias"][:vocab], expected.head_bias)
    assert (arrays["head_bias"][vocab:] == -np.inf).all()


def test_a_language_is_loaded_once_and_its_row_is_its_weights() -> None:
    disk = Disk()
    bank = make(3, disk)
    for _ in range(3):
        with bank.acquire(["aaa", "bbb"]) as residents:
            for language, resident in residents.items():
                assert resident.info.tokens == weights(language).vocab
                check_row(bank, language, resident.slot)
    assert disk.loads == {"aaa": 1, "bbb": 1}


def test_the_longest_unused_language_leaves() -> None:
    bank = make(2)
    for languages in (["aaa"], ["bbb"], ["aaa"], ["ddd"]):
        with bank.acquire(languages):
            pass
    assert bank.languages == ("aaa", "ddd")


def test_a_held_language_keeps_its_slot() -> None:
    bank = make(2)
    with bank.acquire(["aaa"]) as held:
        for language in ("bbb", "ddd", "bbb"):
            with bank.acquire([language]):
                assert "aaa" in bank.languages
        check_row(bank, "aaa", held["aaa"].slot)


def test_a_language_may_be_held_several_times() -> None:
    bank = make(1, wait_seconds=0.05)
    with bank.acquire(["aaa"]):
        with bank.acquire(["aaa"]):
            pass
        with pytest.raises(BackendError, match="slots were in use"), bank.acquire(["bbb"]):
            pass
    with bank.acquire(["bbb"]):
        assert bank.languages == ("bbb",)


def test_a_larger_vocabulary_grows_the_heads_and_keeps_their_content() -> None:
    bank = make(3)
    with bank.acquire(["aaa"]) as held:
        before = bank.storage.constants()
        with bank.acquire(["ccc", "eee"]) as more:
            after = bank.storage.constants()
            assert before["head_bias"].array.shape[1] == 64
            assert after["head_bias"].array.shape[1] == 256
            assert np.shares_memory(before["adapters"].array, after["adapters"].array)
            for language, resident in {**held, **more}.items():
                check_row(bank, language, resident.slot)
        # What a run that began before still sees:
        slot = held["aaa"].slot
        np.testing.assert_array_equal(before["head_bias"].array[slot, :5], weights("aaa").head_bias)


def test_the_constants_are_the_banks_own_memory() -> None:
    bank = make(3)
    with bank.acquire(["aaa"]):
        first, second = bank.storage.constants(), bank.storage.constants()
    for name, constant in first.items():
        assert constant.array.flags.c_contiguous
        assert np.shares_memory(constant.array, second[name].array)
        assert constant.version == second[name].version
    with bank.acquire(["bbb"]):
        assert bank.storage.constants()["adapters"].version != first["adapters"].version


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rows_are_converted_when_they_are_loaded(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    bank = make(1, dtype=dtype)
    with bank.acquire(["aaa"]) as residents:
        constants = bank.storage.constants()
        slot = residents["aaa"].slot
    expected = torch.from_numpy(weights("aaa").adapter).to(getattr(torch, dtype))
    got = torch.from_numpy(constants["adapters"].array[slot].copy())
    assert torch.equal(got.view(torch.int16), expected.view(torch.int16))
    bias = torch.from_numpy(constants["head_bias"].array[slot].copy()).view(expected.dtype)
    assert torch.isinf(bias[VOCABS["aaa"] :].float()).all()
    assert (bias[VOCABS["aaa"] :].float() < 0).all()


def test_more_languages_than_slots_is_refused_at_once() -> None:
    with (
        pytest.raises(BackendError, match="3 languages at once do not fit in 2 adapter slots"),
        make(2).acquire(["aaa", "bbb", "ccc"]),
    ):
        pass


def test_a_language_that_cannot_be_loaded_leaves_nothing_behind() -> None:
    bank = make(2)
    with pytest.raises(LanguageError), bank.acquire(["aaa", "zzz"]):
        pass
    with bank.acquire(["bbb", "ddd"]) as residents:
        assert sorted(resident.slot for resident in residents.values()) == [0, 1]


def test_a_waiting_caller_gets_the_slot_that_comes_free() -> None:
    bank = make(1)
    entered = threading.Event()
    done = threading.Event()

    def wait_for_it() -> None:
        entered.set()
        with bank.acquire(["bbb"]):
            done.set()

    with bank.acquire(["aaa"]):
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        entered.wait()
        assert not done.wait(0.1)
    thread.join(5)
    assert done.is_set()


def test_many_threads_always_read_their_own_rows() -> None:
    bank = make(3, Disk(delay=0.001))
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        order = np.random.default_rng(seed)
        try:
            for _ in range(60):
                chosen = order.choice(sorted(VOCABS), size=order.integers(1, 3), replace=False)
                with bank.acquire([str(language) for language in chosen]) as residents:
                    for language, resident in residents.items():
                        check_row(bank, language, resident.slot)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    with bank.acquire(["aaa", "bbb", "ccc"]) as residents:
        assert sorted(resident.slot for resident in residents.values()) == [0, 1, 2]


def test_slots_within_a_budget() -> None:
    at_1b = {"adapter_parameters": 2_151_168, "hidden_size": 1280, "vocab": 154, "itemsize": 4}
    assert slots_within(1 << 30, **at_1b) == 114
    assert slots_within(1, **at_1b) == 1
