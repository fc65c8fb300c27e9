"""Adapter bank on the device: no run reads a wrong or half-copied slot, in any order."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from mms_engine.bank.adapters import AdapterBank, BankOptions, LanguageBytes, adapter_bank
from mms_engine.bank.bank import Resident
from mms_engine.bank.device import DeviceBank, bank_bytes
from mms_engine.bank.heads import page_count
from mms_engine.bundle import AdapterWeights
from mms_engine.cuda.context import open_device
from mms_engine.cuda.memory import DeviceArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.errors import BackendError, DeviceLostError, DeviceMemoryError, LanguageError

P, H = 300, 8
LANGUAGES = [f"l{number:02}" for number in range(9)]
ROUNDS, STEPS = 40, 60


def vocab_of(language: str) -> int:
    """Return the size of a vocabulary of one to four pages."""
    return 4 + int(language[1:]) % 7 * 37


def weights(language: str) -> AdapterWeights:
    """Return weights whose values identify language and position."""
    number, vocab = 1 + int(language[1:]), vocab_of(language)
    return AdapterWeights(
        language=language,
        adapter=(number * 100 + np.arange(P) % 97).astype(np.float16),
        head_weight=(number * 100 + np.arange(vocab * H) % 89).reshape(vocab, H).astype(np.float16),
        head_bias=(number * 100 + np.arange(vocab)).astype(np.float16),
        vocab=tuple(f"{language}{i}" for i in range(vocab)),
        fingerprint="",
    )


def load(language: str) -> AdapterWeights:
    if language not in LANGUAGES:
        raise LanguageError(f"no {language}")
    return weights(language)


SIZES = tuple(sorted((page_count(vocab_of(one)) for one in LANGUAGES), reverse=True))


def draw(chance: np.random.Generator, most: int) -> list[str]:
    """Return up to `most` different languages."""
    return [*map(str, chance.choice(LANGUAGES, chance.integers(1, most + 1), replace=False))]


class Runs:
    """Runs that read rows of the bank as an encoder does: gathered into a batch, in a stream."""

    def __init__(self, bank: AdapterBank[DeviceBank]) -> None:
        self.bank = bank
        self.device = open_device()
        with self.device.active("testing"):
            self.stream = CudaStream(self.device)
        self._results: list[tuple[str, list[DeviceArray], list[np.ndarray]]] = []

    def enqueue(self, languages: list[str]) -> None:
        """Enqueue a batch and release its languages before it has run."""
        with self.bank.acquire(languages) as residents, self.device.active("testing"):
            held = [residents[language] for language in languages]
            with self.bank.storage.reading([one.slot for one in held], self.stream):
                for language, resident in zip(languages, held, strict=True):
                    self._gather(language, resident)

    def _gather(self, language: str, resident: Resident) -> None:
        copies, hosts = [], []
        arrays = self.bank.storage.arrays
        rows = [arrays["adapters"].row(resident.slot)]
        for page in resident.pages:
            rows += (arrays["head_weight"].row(page), arrays["head_bias"].row(page))
        for row in rows:
            copy = DeviceArray.empty(self.device, row.shape, row.dtype)
            self.stream.copy(copy, row)
            copies.append(copy)
            hosts.append(np.empty(row.shape, row.dtype))
        self._results.append((language, copies, hosts))

    def check(self) -> None:
        """Wait for all runs and compare the rows with the weights of their languages."""
        with self.device.active("testing"):
            for _, copies, hosts in self._results:
                for host, copy in zip(hosts, copies, strict=True):
                    self.stream.download(host, copy)
            self.stream.synchronize()
            for _, copies, _ in self._results:
                for copy in copies:
                    copy.free()
        results, self._results = self._results, []
        for language, _, (adapter, *head) in results:
            expected, vocab = weights(language), vocab_of(language)
            head_weight, head_bias = np.concatenate(head[::2]), np.concatenate(head[1::2])
            assert len(head_bias) == 64 * page_count(vocab)
            np.testing.assert_array_equal(adapter, expected.adapter, err_msg=language)
            np.testing.assert_array_equal(head_weight[:vocab], expected.head_weight)
            np.testing.assert_array_equal(head_bias[:vocab], expected.head_bias)
            assert not head_weight[vocab:].any()
            assert (head_bias[vocab:] == -np.inf).all()

    def free(self) -> None:
        with self.device.active("testing"):
            self.stream.free()


def options(slots: int, pages: int) -> BankOptions:
    return BankOptions(
        adapter_parameters=P, hidden_size=H, dtype="float16", slots=slots, pages=pages, sizes=SIZES
    )


@pytest.fixture
def make(sim):
    """Make banks; at the end nothing of them is left on the device."""
    open_device()
    before = sim.usage()
    banks = []

    def build(slots: int, pages: int = sum(SIZES)) -> AdapterBank[DeviceBank]:
        sizes = options(slots, pages)
        banks.append(adapter_bank(load, vocab_of, sizes, DeviceBank(open_device(), sizes)))
        return banks[-1]

    yield build
    for bank in banks:
        bank.storage.free()
    left = sim.usage()
    for name in ("allocations", "host_ranges", "streams", "events", "operations"):
        assert getattr(left, name) == getattr(before, name), name


@pytest.mark.parametrize("slow_copies", [False, True])
@pytest.mark.parametrize(("slots", "pages"), [(1, 4), (4, 24), (4, 8), (9, 8)])
def test_no_run_reads_a_wrong_row_in_any_order(
    make, sim, slots: int, pages: int, slow_copies: bool
) -> None:
    bank = make(slots, pages)
    runs = Runs(bank)
    for seed in range(ROUNDS):
        sim.order(seed=seed, slow_copies=slow_copies)
        chance = np.random.default_rng(seed)
        for _ in range(STEPS):
            chosen = draw(chance, min(slots, pages // SIZES[0]))
            match chance.integers(4):
                case 0:
                    bank.prefetch(chosen)
                case 1:
                    with bank.acquire(chosen):
                        pass
                case _:
                    runs.enqueue(chosen)
        runs.check()
    runs.free()


def test_no_run_of_many_threads_reads_a_wrong_row(make, sim) -> None:
    bank = make(4)
    sim.order(seed=3, slow_copies=True)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        chance = np.random.default_rng(seed)
        runs = Runs(bank)
        try:
            for _ in range(10):
                for _ in range(8):
                    runs.enqueue(draw(chance, 2))
                runs.check()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            runs.free()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures


def test_failed_copy_frees_its_slot(make, sim) -> None:
    bank = make(2)
    bank.prefetch([LANGUAGES[0]])
    sim.fail("cuMemcpyHtoDAsync", code=1)
    with pytest.raises(BackendError, match=f"copying the adapter of {LANGUAGES[1]}"):
        bank.prefetch([LANGUAGES[1]])
    assert bank.keys == (LANGUAGES[0],)
    runs = Runs(bank)
    runs.enqueue(LANGUAGES[:2])
    runs.check()
    runs.free()


def test_bank_beyond_device_memory_is_an_error(sim) -> None:
    sim.out_of_memory(times=2)  # pycuda tries a second time, after collecting garbage
    with pytest.raises(DeviceMemoryError, match=r"while allocating 2 adapter slots: .* MiB are"):
        DeviceBank(open_device(), options(2, 8))


def test_bank_takes_the_bytes_of_its_languages(make, sim) -> None:
    """All of them: as much as their own heads, of which the widest is one."""
    before = sim.usage().bytes
    bank = make(len(LANGUAGES))
    model = SimpleNamespace(adapter_parameters=P, hidden_size=H)
    sizes = LanguageBytes.of(model, "float16")
    vocabs = sum(64 * page_count(vocab_of(language)) for language in LANGUAGES)
    least = 2 * (len(LANGUAGES) * P + vocabs * (H + 1))
    assert sizes.total(len(LANGUAGES), sum(SIZES)) == least + 2 * 64 * (H + 1)
    assert sim.usage().bytes - before == least + 2 * 64 * (H + 1)
    assert bank.storage.sizes == {"bank_pages": 1 + sum(SIZES), "slots": len(LANGUAGES)}


def test_pages_of_a_run_are_those_of_its_widest_language(make) -> None:
    bank = make(len(LANGUAGES))
    by_size = {page_count(vocab_of(language)): language for language in LANGUAGES}
    assert sorted(by_size) == [1, 2, 3, 4]
    for size, pages in ((1, 1), (2, 2), (3, 4), (4, 4)):
        with bank.acquire([by_size[1], by_size[size]]) as residents:
            assert bank.storage.pages_of(list(residents.values())) == pages


def test_bank_leaves_what_runs_take() -> None:
    gib = 1 << 30
    assert bank_bytes(80 * gib, 0, 10 * gib) == 69 * gib - gib // 8
    assert bank_bytes(gib, 0, gib) == 0
    assert bank_bytes(80 * gib, gib, 10 * gib) == gib


def test_shrunk_bank_loads_its_languages_again(make, sim) -> None:
    bank = make(4, 16)
    runs = Runs(bank)
    runs.enqueue(LANGUAGES[:4])
    runs.check()
    before = sim.usage().bytes
    assert bank.shrink(LANGUAGES[:1], bank.storage.shrink)
    assert (bank.slots, bank.pages, bank.keys) == (2, 8, ())
    assert sim.usage().bytes < before
    assert bank.storage.arrays["adapters"].shape == (2, P)
    assert bank.storage.arrays["head_bias"].shape == (9, 64)
    for languages in (LANGUAGES[:2], LANGUAGES[2:4], LANGUAGES[3:5]):
        runs.enqueue(languages)
    runs.check()
    with pytest.raises(BackendError, match="3 languages at once do not fit in 2 adapter slots"):
        runs.enqueue(LANGUAGES[:3])
    widest = sorted(LANGUAGES, key=vocab_of)[-2:]
    assert bank.shrink(widest, bank.storage.shrink)
    assert (bank.slots, bank.pages) == (2, 7)
    assert not bank.shrink(widest, bank.storage.shrink), "both are needed"
    assert bank.shrink(LANGUAGES[:1], bank.storage.shrink)
    assert (bank.slots, bank.pages) == (1, SIZES[0]), "each language fits"
    runs.enqueue(widest[1:])
    runs.check()


def test_lost_device_is_reported_as_lost(make, sim) -> None:
    """Last: the context does not survive it."""
    bank = make(2)
    bank.prefetch(LANGUAGES[:1])
    sim.fail("cuMemcpyHtoDAsync", code=719, times=1000)
    sim.fail("cuCtxSynchronize", code=719)
    with pytest.raises(
        DeviceLostError, match=r"was lost while copying the adapter of l01: .*restart"
    ):
        bank.prefetch(LANGUAGES[1:2])
