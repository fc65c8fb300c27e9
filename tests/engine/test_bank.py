"""Bank: residency, eviction, concurrency, and the contents that a run sees."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from mms_engine.bank.adapters import (
    AdapterBank,
    BankOptions,
    adapter_bank,
)
from mms_engine.bank.bank import Resident
from mms_engine.bank.heads import PADDING_PAGE, page_count
from mms_engine.bank.host import HostBank
from mms_engine.bundle import AdapterWeights
from mms_engine.errors import BackendError, BundleError, LanguageError

P, H = 6, 4
VOCABS = {"aaa": 5, "bbb": 9, "ccc": 70, "ddd": 5, "eee": 130}
SIZES = tuple(sorted(map(page_count, VOCABS.values()), reverse=True))


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
    """Loader of adapters that counts its calls; the first `failures` of them fail."""

    def __init__(self, delay: float = 0.0, failures: int = 0) -> None:
        self.loads: Counter[str] = Counter()
        self.delay = delay
        self.failures = failures

    def __call__(self, language: str) -> AdapterWeights:
        if language not in VOCABS:
            raise LanguageError(f"no {language}")
        self.loads[language] += 1
        time.sleep(self.delay)
        if self.loads.total() <= self.failures:
            raise BundleError("damaged")
        return weights(language)


def in_threads(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run `work` in threads and return the errors it raised."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def make(slots: int, disk: Disk | None = None, **options: object) -> AdapterBank[HostBank]:
    sizes = BankOptions(
        adapter_parameters=P,
        hidden_size=H,
        slots=slots,
        **{"dtype": "float32", "pages": sum(SIZES), "sizes": SIZES, **options},
    )
    return adapter_bank(disk or Disk(), vocab_size, sizes, HostBank(sizes))


def vocab_size(language: str) -> int:
    if language not in VOCABS:
        raise LanguageError(f"no {language}")
    return VOCABS[language]


def check_row(bank: AdapterBank, language: str, resident: Resident) -> None:
    expected = weights(language)
    vocab = VOCABS[language]
    assert len(resident.pages) == page_count(vocab)
    arrays = {name: constant.array for name, constant in bank.storage.constants().items()}
    np.testing.assert_array_equal(arrays["adapters"][resident.slot], expected.adapter)
    head_weight, head_bias = (
        np.concatenate(arrays[name][list(resident.pages)]) for name in ("head_weight", "head_bias")
    )
    np.testing.assert_array_equal(head_weight[:vocab], expected.head_weight)
    np.testing.assert_array_equal(head_bias[:vocab], expected.head_bias)
    assert not head_weight[vocab:].any()
    assert (head_bias[vocab:] == -np.inf).all()
    assert not arrays["head_weight"][PADDING_PAGE].any()
    assert (arrays["head_bias"][PADDING_PAGE] == -np.inf).all()


def test_language_is_loaded_once_and_its_row_holds_its_weights() -> None:
    disk = Disk()
    bank = make(3, disk)
    for _ in range(3):
        with bank.acquire(["aaa", "bbb"]) as residents:
            for language, resident in residents.items():
                assert resident.info.tokens == weights(language).vocab
                check_row(bank, language, resident)
    assert disk.loads == {"aaa": 1, "bbb": 1}


def test_least_recently_used_language_is_evicted() -> None:
    bank = make(2)
    for languages in (["aaa"], ["bbb"], ["aaa"], ["ddd"]):
        with bank.acquire(languages):
            pass
    assert bank.keys == ("aaa", "ddd")


def test_language_in_use_keeps_its_slot() -> None:
    bank = make(2)
    with bank.acquire(["aaa"]) as held:
        for language in ("bbb", "ddd", "bbb"):
            with bank.acquire([language]):
                assert "aaa" in bank.keys
        check_row(bank, "aaa", held["aaa"])


def test_language_may_be_acquired_several_times() -> None:
    bank = make(1, wait_seconds=0.05)
    with bank.acquire(["aaa"]):
        with bank.acquire(["aaa"]):
            pass
        with (
            pytest.raises(
                BackendError, match="all 1 adapter slots with 8 pages of tokens were in use"
            ),
            bank.acquire(["bbb"]),
        ):
            pass
    with bank.acquire(["bbb"]):
        assert bank.keys == ("bbb",)


def test_languages_take_the_pages_of_their_own_vocabularies() -> None:
    bank = make(4, pages=6)
    with bank.acquire(["aaa", "ccc", "eee"]) as residents:
        taken = [page for resident in residents.values() for page in resident.pages]
        assert sorted(taken) == [1, 2, 3, 4, 5, 6]
        for language, resident in residents.items():
            check_row(bank, language, resident)


def test_languages_are_evicted_for_pages_while_slots_are_free() -> None:
    bank = make(4, pages=4)
    for languages, resident in (
        (["aaa"], ("aaa",)),
        (["ccc"], ("aaa", "ccc")),
        (["bbb"], ("aaa", "ccc", "bbb")),
        (["eee"], ("bbb", "eee")),  # "aaa" gives one page of the three needed, "ccc" two
        (["ddd"], ("eee", "ddd")),
    ):
        with bank.acquire(languages) as held:
            for language, own in held.items():
                check_row(bank, language, own)
        assert bank.keys == resident
    with (
        pytest.raises(BackendError, match="2 languages at once do not fit in 4 adapter slots with"),
        bank.acquire(["ccc", "eee"]),
    ):
        pass


def test_caller_waits_for_pages_that_are_held() -> None:
    bank = make(4, pages=4, wait_seconds=0.05)
    with bank.acquire(["ccc"]) as held:
        bank.prefetch(["eee"])
        with (
            pytest.raises(BackendError, match="4 pages of tokens were in use"),
            bank.acquire(["eee"]),
        ):
            pass
        assert bank.keys == ("ccc",)
        with bank.acquire(["aaa", "bbb"]):
            check_row(bank, "ccc", held["ccc"])


def test_pages_of_any_place_hold_a_head() -> None:
    """Pages of languages that left are taken by wider ones, neighbours or not."""
    bank = make(5, pages=6)
    with bank.acquire(["aaa", "bbb", "ddd", "ccc"]):
        pass
    for kept in (["aaa", "ddd"], ["bbb", "ccc"]):
        with bank.acquire(kept) as held, bank.acquire(["eee"]) as other:
            for language, resident in {**held, **other}.items():
                check_row(bank, language, resident)


@pytest.mark.parametrize(("pages", "at_once"), [(3, 1), (4, 1), (5, 2), (6, 3), (8, 5), (20, 5)])
def test_languages_at_once_are_those_of_the_widest_heads(pages: int, at_once: int) -> None:
    assert SIZES == (3, 2, 1, 1, 1)
    assert make(5, pages=pages).at_once == at_once
    assert make(2, pages=pages).at_once == min(2, at_once)


def test_constants_share_the_banks_memory_and_version_written_rows() -> None:
    bank = make(3)
    with bank.acquire(["aaa"]):
        first, second = bank.storage.constants(), bank.storage.constants()
    for name, constant in first.items():
        assert constant.array.flags.c_contiguous
        assert np.shares_memory(constant.array, second[name].array)
        np.testing.assert_array_equal(constant.versions, second[name].versions)
    with bank.acquire(["bbb"]), bank.acquire(["ddd"]) as residents:
        before = bank.storage.constants()["adapters"]
        assert len(before.versions) == len(before.array) == 3, "a power of two, or all slots"
    with bank.acquire(["bbb", "ddd"]), bank.acquire(["eee"]):
        after = bank.storage.constants()["adapters"]
    changed = np.flatnonzero(after.versions > before.versions)
    assert changed.tolist() == [3 - sum(r.slot for r in residents.values()) - 1]
    assert np.flatnonzero(after.versions < before.versions).size == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rows_are_converted_when_they_are_loaded(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    bank = make(1, dtype=dtype)
    with bank.acquire(["aaa"]) as residents:
        constants = bank.storage.constants()
        slot, (page,) = residents["aaa"].slot, residents["aaa"].pages
    expected = torch.from_numpy(weights("aaa").adapter).to(getattr(torch, dtype))
    got = torch.from_numpy(constants["adapters"].array[slot].copy())
    assert torch.equal(got.view(torch.int16), expected.view(torch.int16))
    bias = torch.from_numpy(constants["head_bias"].array[page].copy()).view(expected.dtype)
    assert torch.isinf(bias[VOCABS["aaa"] :].float()).all()
    assert (bias[VOCABS["aaa"] :].float() < 0).all()


def test_more_languages_than_slots_are_refused_at_once() -> None:
    with (
        pytest.raises(BackendError, match="3 languages at once do not fit in 2 adapter slots"),
        make(2).acquire(["aaa", "bbb", "ccc"]),
    ):
        pass


def test_failed_load_leaves_no_slot_taken() -> None:
    bank = make(2)
    with pytest.raises(LanguageError), bank.acquire(["aaa", "zzz"]):
        pass
    with bank.acquire(["bbb", "ddd"]) as residents:
        assert sorted(resident.slot for resident in residents.values()) == [0, 1]


def test_waiting_caller_gets_the_next_free_slot() -> None:
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

    def work(seed: int) -> None:
        order = np.random.default_rng(seed)
        for _ in range(60):
            chosen = order.choice(sorted(VOCABS), size=order.integers(1, 3), replace=False)
            with bank.acquire([str(language) for language in chosen]) as residents:
                for language, resident in residents.items():
                    check_row(bank, language, resident)

    assert not in_threads(6, work)
    with bank.acquire(["aaa", "bbb", "ccc"]) as residents:
        assert sorted(resident.slot for resident in residents.values()) == [0, 1, 2]


class Yielding(threading.Condition):
    """Condition that lets other threads run whenever its lock is released."""

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        time.sleep(0.0002)


def test_prefetch_races_with_eviction() -> None:
    """Eviction by other threads between two looks at the bank does not fail a prefetch."""
    bank = make(2)
    bank._changed = Yielding()

    def work(seed: int) -> None:
        order = np.random.default_rng(seed)
        for _ in range(100):
            chosen = [str(one) for one in order.choice(sorted(VOCABS), size=2, replace=False)]
            bank.prefetch(chosen)
            with bank.acquire(chosen[:1]) as residents:
                check_row(bank, chosen[0], residents[chosen[0]])

    assert not in_threads(4, work)
    with bank.acquire(["aaa", "bbb"]) as residents:
        assert sorted(resident.slot for resident in residents.values()) == [0, 1]


def test_prefetch_takes_no_slot_that_is_in_use() -> None:
    bank = make(2)
    with bank.acquire(["aaa", "bbb"]):
        bank.prefetch(["ccc", "ddd"])
        assert set(bank.keys) == {"aaa", "bbb"}
    bank.prefetch(["ccc", "ddd"])
    assert set(bank.keys) == {"ccc", "ddd"}
    with bank.acquire(["aaa", "bbb"]):
        pass
    with pytest.raises(LanguageError):
        bank.prefetch(["zzz"])


@pytest.mark.parametrize("failures", [0, 1])
def test_threads_that_want_one_language_load_it_once(failures: int) -> None:
    """A failed load is the error of one thread, and the others retry."""
    disk = Disk(delay=0.05, failures=failures)
    bank = make(2, disk)

    def work(_: int) -> None:
        with bank.acquire(["aaa"]) as residents:
            check_row(bank, "aaa", residents["aaa"])

    assert [type(error) for error in in_threads(6, work)] == [BundleError] * failures
    assert disk.loads == {"aaa": 1 + failures}


def test_requests_are_served_in_order() -> None:
    bank, served = make(2), []

    def work(languages: list[str]) -> None:
        with bank.acquire(languages):
            served.append(languages)

    with contextlib.ExitStack() as held:
        held.enter_context(bank.acquire(["aaa"]))
        with bank.acquire(["bbb"]):
            threads = []
            for languages in (["ccc", "ddd"], ["eee"]):
                threads.append(threading.Thread(target=work, args=(languages,)))
                threads[-1].start()
                while len(bank._queue) < len(threads):
                    time.sleep(0.001)
        time.sleep(0.05)
        assert not served, "the free slot waits for the first request"
    for thread in threads:
        thread.join(60)
    assert served == [["ccc", "ddd"], ["eee"]]
