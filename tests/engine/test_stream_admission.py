"""Admission to a pool: its size, and the machine's measured capacity, kept on disk."""

import threading
from pathlib import Path

import pytest

from mms_engine import Recognizer
from mms_engine.asr.pool import PoolOptions
from mms_engine.asr.pool.capacity import Capacity
from mms_engine.asr.streaming import ContextOptions, StreamOptions
from mms_engine.asr.streaming.model import StreamingModel
from mms_engine.encoder.model import AcousticModel
from mms_engine.errors import StreamError
from mms_engine.system import cache_folder

LOW, ACCURATE = StreamOptions(latency="low"), StreamOptions(latency="accurate")
ONE_LANE = PoolOptions(lanes=1)
FOUR = "this machine sustains 4 such streams in real time"


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Seconds of a step by rows, for runs of one lane: 4 streams of `balanced`."""
    seconds = {1: 0.2, 2: 0.25}  # 2 rows in 0.25 s; 0.8 of a chunk of 0.64 s may be used
    monkeypatch.setattr(Capacity, "_time", lambda *arguments: seconds.get(arguments[-1], 9.0))
    return seconds


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Chunk lengths of the kinds measured."""
    chunks, measure = [], Capacity._measure

    def counted(self: Capacity, options: ContextOptions, language: str) -> object:
        chunks.append(options.chunk_seconds)
        return measure(self, options, language)

    monkeypatch.setattr(Capacity, "_measure", counted)
    return chunks


def describe(demo: Recognizer) -> str:
    with demo.pool(ONE_LANE) as pool:
        return pool.describe_capacity("eng")


def test_streams_beyond_the_capacity_are_refused(demo: Recognizer, times: dict) -> None:
    with demo.pool(ONE_LANE) as pool:
        streams = [pool.open("eng") for _ in range(4)]
        with pytest.raises(StreamError, match=f"{FOUR}, and 4 are open"):
            pool.open("eng")
        streams[0].cancel()
        pool.open("eng")
        pool.close()
        times.update({1: 0.6, 2: 1.2})
    with demo.pool() as pool:
        with pytest.raises(StreamError, match="sustains no such stream in real time: a chunk of"):
            pool.open("eng")
        assert "no such stream" in pool.describe_capacity("eng")


@pytest.mark.parametrize("reason", ["the limit", "no room for another stream", "is closed"])
def test_refused_stream_allocates_and_evicts_nothing(
    demo: Recognizer, times: dict, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    with demo.pool(PoolOptions(lanes=1, max_streams=2 if reason == "the limit" else 9)) as pool:
        for _ in range(2 if reason == "the limit" else 4):
            pool.open("eng")
        if reason == "is closed":
            pool.close()
        calls = []
        for owner, name in ((StreamingModel, "context"), (AcousticModel, "vocabulary")):
            method = getattr(owner, name)
            monkeypatch.setattr(
                owner, name, lambda *a, name=name, f=method: calls.append(name) or f(*a)
            )
        bank = demo._model.encoder.bank
        resident = bank.keys
        for _ in range(5):
            with pytest.raises(StreamError, match=reason):
                pool.open("rus")
        assert calls == []
        assert bank.keys == resident
        pool.close()


def test_capacity_is_kept_on_disk(
    demo: Recognizer, times: dict, measured: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert describe(demo) == describe(demo) == FOUR
    assert measured == [0.64]
    (file,) = cache_folder().rglob("capacity/*")
    for number, damage in enumerate((b"", b"{}", b'{"cached 5 0.64 0.32": {"seconds": {}}}'), 2):
        file.write_bytes(damage)
        assert describe(demo) == FOUR
        assert len(measured) == number
    for number, other in enumerate(("processor_name", "usable_cores", "version"), 5):
        with monkeypatch.context() as patch:  # another machine, or another release
            patch.setattr(f"mms_engine.asr.pool.capacity.{other}", lambda *_: "another")
            assert describe(demo) == FOUR
        assert len(measured) == number
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # not writable
    assert describe(demo) == FOUR


def test_capacity_is_measured_on_an_idle_pool_and_estimated_on_a_busy_one(
    demo: Recognizer, times: dict, measured: list
) -> None:
    with demo.pool(ONE_LANE) as pool:
        stream = pool.open("eng")
        # A step of `low` encodes 0.44 s, one of `balanced` 0.96 s.
        assert "sustains 2 such streams" in pool.describe_capacity("eng", LOW)
        pool.open("eng", ACCURATE).cancel()
        with pytest.raises(StreamError, match="1 streams are open: measure on an idle pool"):
            pool.measure_capacity("eng")
        assert measured == [0.64]
        stream.cancel()
        assert "sustains no such stream" in pool.describe_capacity("eng", LOW)
        assert measured == [0.64, 0.2]


def test_unknown_capacity_of_a_busy_pool_is_an_error(demo: Recognizer, measured: list) -> None:
    with demo.pool(PoolOptions(admission=False)) as pool:
        pool.open("eng")
        with pytest.raises(StreamError, match="capacity is unknown while streams run"):
            pool.describe_capacity("eng")
        assert measured == []


def test_capacity_is_measured_again_on_demand(demo: Recognizer, times: dict) -> None:
    with demo.pool(ONE_LANE) as pool:
        assert pool.describe_capacity("eng") == FOUR
        times.update({1: 0.1, 2: 0.125})
        assert pool.describe_capacity("eng") == FOUR
        assert "sustains 8 such streams" in pool.measure_capacity("eng")
    assert "sustains 8 such streams" in describe(demo)


def test_no_stream_opens_while_capacity_is_measured(
    demo: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring, resume = threading.Event(), threading.Event()

    def wait(*_: object) -> float:
        measuring.set()
        assert resume.wait(60)
        return 0.01

    monkeypatch.setattr(Capacity, "_time", wait)
    with demo.pool(ONE_LANE) as pool:
        threads = [threading.Thread(target=pool.open, args=("eng",)) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert measuring.wait(60)
        assert (len(pool), len(pool._loads)) == (0, 0)
        resume.set()
        for thread in threads:
            thread.join(60)
        assert len(pool) == 3
