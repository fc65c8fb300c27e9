"""Concurrent runs of many recordings: the same text, faults of their own, cores in use at once."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from engine_sounds import sound
from mms_engine import BeamSearch, Recognizer, RecognizerOptions
from mms_engine.asr.jobs import Job
from mms_engine.asr.options import concurrent_runs
from mms_engine.encoder.host.encoder import HostEncoder
from mms_engine.encoder.windows import WindowOptions
from mms_engine.errors import BackendError, BundleError

WINDOWS = WindowOptions(seconds=2.0, context_seconds=0.5)
SECONDS = (0.01, 0.4, 0.5, 0.8, 1.0, 1.3, 2.0, 3.7, 9.0)
LANGUAGES = ("eng", "swh", "uzb-script_latin")


def jobs() -> list[Job]:
    return [
        Job(sound(seconds, seed=number), LANGUAGES[number % 3])
        for number, seconds in enumerate(SECONDS * 2)
    ]


def texts(bundle: Path, **options: object) -> list[object]:
    """Return the transcripts of every job, in order, and check the progress that was reported."""
    chosen = RecognizerOptions(windows=WINDOWS, **options)
    seconds: list[float] = []
    with Recognizer.open(bundle, device="cpu", threads=2, options=chosen) as recognizer:
        found = {id(one.job): one for one in recognizer.transcribe_each(ALL, seconds.append)}
    assert sum(seconds) == pytest.approx(2 * sum(SECONDS), abs=0.1 * len(ALL))
    return [found[id(job)].unwrap() for job in ALL]


ALL = jobs()


@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("beam", [None, BeamSearch()], ids=["greedy", "beam"])
def test_concurrent_runs_do_not_change_the_text(
    tiny_bundle: Path, runs: int, beam: BeamSearch | None
) -> None:
    plain = [one.text for one in texts(tiny_bundle, beam=beam)]
    assert sum(map(bool, plain)) > len(plain) / 2
    for more in ({}, {"read_ahead_seconds": 3.0}, {"batch_frames": 60}):
        found = texts(tiny_bundle, beam=beam, concurrent_runs=runs, **more)
        assert [one.text for one in found] == plain


def test_more_runs_than_slots_do_not_wait_for_each_other(tiny_bundle: Path) -> None:
    plain = [one.text for one in texts(tiny_bundle)]
    with Recognizer.open(tiny_bundle, device="cpu") as recognizer:
        storage = recognizer.acoustic.bank.storage
        size = sum(constant.array[0].nbytes for constant in storage.constants().values())
    for budget in (1, size):
        options = RecognizerOptions(concurrent_runs=3, adapter_cache_bytes=budget)
        with Recognizer.open(tiny_bundle, device="cpu", options=options) as recognizer:
            assert recognizer.acoustic.bank.slots < len(LANGUAGES)
        found = texts(tiny_bundle, concurrent_runs=3, adapter_cache_bytes=budget)
        assert [one.text for one in found] == plain


@pytest.mark.parametrize("languages", [["eng"], ["eng", "swh", "uzb-script_latin"]])
def test_runs_are_at_once(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, languages: list[str]
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    content = json.loads((bundle / "manifest.json").read_bytes())
    content["data"] = {language: content["data"][language] for language in languages}
    (bundle / "manifest.json").write_text(json.dumps(content))
    both = threading.Barrier(2, timeout=20)
    real = HostEncoder.emission

    def emission(self: HostEncoder, segments: list[object]) -> object:
        both.wait()
        return real(self, segments)

    monkeypatch.setattr(HostEncoder, "emission", emission)
    options = RecognizerOptions(concurrent_runs=2, batch_frames=1)
    with Recognizer.open(bundle, device="cpu", options=options) as recognizer:
        recognizer.transcribe([sound(0.5)] * 6, "eng")
    assert not both.broken


def test_damaged_adapter_fails_its_own_recordings(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    path = bundle / "adapters" / "swh.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    options = RecognizerOptions(windows=WINDOWS, concurrent_runs=2)
    with Recognizer.open(bundle, device="cpu", options=options) as recognizer:
        found = list(recognizer.transcribe_each(ALL))
    assert len(found) == len(ALL)
    for one in found:
        if one.job.language == "swh" and one.job.audio.size >= 400:
            with pytest.raises(BundleError, match="does not have the SHA-256"):
                one.unwrap()
        else:
            one.unwrap()


def test_failed_device_ends_all_runs(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def emission(*_: object) -> object:
        raise BackendError("no memory")

    options = RecognizerOptions(concurrent_runs=2, batch_frames=1)
    with Recognizer.open(tiny_bundle, device="cpu", options=options) as recognizer:
        monkeypatch.setattr(HostEncoder, "emission", emission)
        with pytest.raises(BackendError, match="no memory"):
            recognizer.transcribe([sound(0.5)] * 6, "eng")
        assert not [t for t in threading.enumerate() if t.name.startswith("mms-encode")]


def test_caller_that_stops_early_stops_the_runs(tiny_bundle: Path) -> None:
    options = RecognizerOptions(concurrent_runs=2, batch_frames=1)
    with Recognizer.open(tiny_bundle, device="cpu", options=options) as recognizer:
        results = recognizer.transcribe_each(ALL)
        next(results)
        results.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("mms-encode")]


@pytest.mark.parametrize(
    ("recordings", "threads", "runs"),
    [(1, 2, 1), (7, 2, 1), (8, 2, 2), (500, 2, 2), (500, 1, 1), (500, 16, 4), (12, 16, 3)],
)
def test_concurrent_runs_suit_the_recordings(recordings: int, threads: int, runs: int) -> None:
    assert concurrent_runs(recordings, threads) == runs


def test_no_runs_are_an_error() -> None:
    with pytest.raises(ValueError, match="concurrent_runs is 0, must be at least 1"):
        RecognizerOptions(concurrent_runs=0)
