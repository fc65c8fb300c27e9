"""The recogniser's API and its errors."""

import contextlib
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mms_engine
from engine_sounds import RATE, sound
from mms_engine import (
    Audio,
    AudioError,
    BackendError,
    BeamSearch,
    BundleCorrupt,
    BundleError,
    Job,
    LanguageError,
    Recognizer,
    RecognizerOptions,
    Transcript,
)
from mms_engine.audio import normalize
from mms_engine.encoder.emission import HostEmission, Segment
from mms_engine.encoder.interface import Encoder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, sound(2.0), RATE, subtype="FLOAT")
    return path


def test_every_kind_of_source_gives_the_same_transcript(tiny: Recognizer, clip: Path) -> None:
    samples = sound(2.0)
    expected = tiny.transcribe(samples, "swh")
    assert expected.text
    sources = (clip, str(clip), io.BytesIO(clip.read_bytes()), Audio(samples, RATE))
    assert [tiny.transcribe(source, "swh") for source in sources] == [expected] * 4


def test_list_of_sources_gives_a_list_of_transcripts(tiny: Recognizer) -> None:
    audios = [sound(1.0, seed) for seed in range(3)]
    one_language = tiny.transcribe(audios, "eng")
    assert [t.language for t in one_language] == ["eng"] * 3
    each = tiny.transcribe(audios, ["eng", "swh", "eng"])
    assert [t.language for t in each] == ["eng", "swh", "eng"]
    assert tiny.transcribe([], "eng") == []


def test_words_are_ordered_in_time_and_within_the_audio(tiny: Recognizer) -> None:
    transcript = tiny.transcribe(sound(8.0), "eng")
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert len(transcript.words) > 1
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= transcript.duration == 8.0
    assert transcript.text.split() == [word.text for word in transcript.words]
    assert all(0 < word.confidence <= 1 for word in transcript.words)
    assert 0 < transcript.confidence <= 1


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_audio_below_one_frame_has_an_empty_transcript(tiny: Recognizer, samples: int) -> None:
    transcript = tiny.transcribe(np.ones(samples, np.float32), "eng")
    assert transcript == Transcript("", "eng", (), samples / RATE, 0.0)


def test_digital_silence_can_be_transcribed(tiny: Recognizer) -> None:
    assert isinstance(tiny.transcribe(np.zeros(RATE, np.float32), "eng"), Transcript)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((10, 2, 3), np.float32), r"got float32\[10, 2, 3\]"),
        (np.zeros(1000, np.complex64), r"got complex64\[1000\]"),
        (np.full(1000, np.nan, np.float32), "NaN or infinity"),
        (np.full((1000, 2), np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_invalid_arrays_are_refused(tiny: Recognizer, samples: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        tiny.transcribe(samples, "eng")


def test_arrays_of_any_rate_dtype_and_channels_are_accepted(tiny: Recognizer) -> None:
    samples = sound(2.0)
    expected = tiny.transcribe(samples, "swh").text
    stereo = np.stack([samples, samples], axis=1)
    wide = np.repeat(samples, 2)
    assert tiny.transcribe(stereo, "swh").text == expected
    assert tiny.transcribe(samples.astype(np.float64), "swh").text == expected
    resampled = tiny.transcribe(wide, "swh", sample_rate=2 * RATE)
    assert resampled.duration == pytest.approx(2.0)
    assert resampled == tiny.transcribe(Audio(wide, 2 * RATE), "swh")
    # Less than half a quantisation step away: the same but for the confidences.
    quantised = tiny.transcribe((samples * 2**15).round().astype(np.int16), "swh")
    assert quantised.duration == 2.0


def test_any_iterable_of_sources_is_accepted(tiny: Recognizer, clip: Path) -> None:
    expected = tiny.transcribe(clip, "eng")
    assert tiny.transcribe(clip.parent.glob("*.wav"), "eng") == [expected]
    assert tiny.transcribe((path for path in (clip, clip)), ["eng", "eng"]) == [expected] * 2
    with pytest.raises(AudioError, match="must be a path, a binary stream, an Audio or an array"):
        tiny.transcribe([1], "eng")


class Undecodable:
    """Encoder whose logits for one language are NaN, over a real one."""

    def __init__(self, encoder: Encoder, language: str) -> None:
        self._encoder = encoder
        self._language = language

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    @contextlib.contextmanager
    def emission(self, segments: list[Segment]) -> Iterator[HostEmission]:
        with self._encoder.emission(segments) as emission:
            logits = emission.logits.copy()
            for row, segment in zip(logits, segments, strict=True):
                if segment.language == self._language:
                    row[...] = np.nan
            yield HostEmission(logits, emission.lengths, emission.vocabs)


def test_undecodable_utterance_has_its_error_and_others_continue(
    tiny_bundle: Path, beam: BeamSearch | None
) -> None:
    """Hazard 4: one utterance whose logits cannot be decoded does not end the call."""
    with Recognizer.open(tiny_bundle, beam=beam) as recognizer:
        expected = recognizer.transcribe(sound(1.0), "eng")
        recognizer._model.encoder = Undecodable(recognizer._model.encoder, "swh")
        jobs = [Job(sound(1.0), "eng"), Job(sound(1.0), "swh"), Job(sound(1.0), "eng")]
        results = {id(result.job): result for result in recognizer.transcribe_each(jobs)}
    first, bad, last = (results[id(job)] for job in jobs)
    assert first.transcript == last.transcript == expected
    assert isinstance(bad.error, BackendError)
    assert "the encoder's logits cannot be decoded: " in str(bad.error)
    assert "NaN" in str(bad.error)


def test_damaged_adapter_fails_only_its_jobs(tiny_bundle: Path, tmp_path: Path) -> None:
    """Languages share a batch: the one whose file is damaged does not take the others along."""
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    path = bundle / "adapters" / "swh.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    jobs = [Job(sound(1.0, seed), code) for seed, code in enumerate(("eng", "swh", "eng"))]
    with Recognizer.open(bundle) as recognizer:
        results = {id(result.job): result for result in recognizer.transcribe_each(jobs)}
    errors = [type(results[id(job)].error) for job in jobs]
    assert errors == [type(None), BundleCorrupt, type(None)]


def test_learning_a_vocabulary_takes_no_slot(tiny_bundle: Path) -> None:
    """Hazard 10: more languages than slots are each loaded once."""
    options = RecognizerOptions(device="cpu", adapter_cache_bytes=1)
    with Recognizer.open(tiny_bundle, options=options) as recognizer:
        model, codes = recognizer._model, list(recognizer.languages)
        assert model.bank.slots == 1
        assert all(len(model.vocabulary(code)) > 1 for code in codes)
        assert model.bank.keys == ()
        load, loaded = model.bank._load, []
        model.bank._load = lambda code: loaded.append(code) or load(code)
        recognizer.transcribe([sound(1.0)] * len(codes), codes)
    assert sorted(loaded) == sorted(codes)


def test_results_come_as_they_are_ready(tiny: Recognizer) -> None:
    """A short audio's result does not wait for a long one in the same call."""
    jobs = [Job(sound(150.0), "eng"), Job(sound(1.0), "eng")]
    first = next(iter(tiny.transcribe_each(jobs)))
    assert first.job is jobs[1]


def test_public_names_are_importable_and_typed() -> None:
    """Everything in `__all__` resolves, and is what type checkers see."""
    source = Path(mms_engine.__file__).read_text(encoding="utf-8")
    block = source[source.index("if TYPE_CHECKING:") : source.index("_MODULES")]
    seen = set(re.findall(r"\b([A-Za-z_]+)\b(?=,|\n|$)", block.split("\n", 1)[1]))
    for name in mms_engine.__all__:
        assert getattr(mms_engine, name) is not None
        assert name == "__version__" or name in seen
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = mms_engine.Nothing


def test_unknown_language_names_the_nearest(tiny: Recognizer) -> None:
    with pytest.raises(LanguageError, match=r"'uzb-script_latn'; did you mean uzb-script_latin\?"):
        tiny.transcribe(sound(1.0), "uzb-script_latn")


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        ([np.zeros(400)] * 3, ValueError, "3 audios need as many languages, got 2"),
        (np.zeros(400), TypeError, "one language"),
    ],
)
def test_number_of_languages_must_be_that_of_the_audios(
    tiny: Recognizer, sources: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tiny.transcribe(sources, ["eng", "swh"])


def test_failed_job_has_its_error_and_others_continue(
    tiny: Recognizer, clip: Path, tmp_path: Path
) -> None:
    jobs = [Job(clip, "eng"), Job(tmp_path / "none.wav", "eng"), Job(clip, "xxx"), Job(clip, "swh")]
    results = {id(result.job): result for result in tiny.transcribe_each(jobs)}
    found = [results[id(job)] for job in jobs]
    errors = [type(result.error) for result in found]
    assert errors == [type(None), AudioError, LanguageError, type(None)]
    assert [result.transcript is None for result in found] == [False, True, True, False]
    with pytest.raises(LanguageError):
        found[2].unwrap()


def test_progress_adds_up_to_the_audio(tiny: Recognizer) -> None:
    done: list[float] = []
    jobs = [Job(sound(seconds), "eng") for seconds in (1.0, 80.0, 3.0)]
    list(tiny.transcribe_each(jobs, done.append))
    assert sum(done) == pytest.approx(84.0, abs=0.1)
    assert len(done) > 2


def test_jobs_are_read_as_they_are_needed(tiny_bundle: Path) -> None:
    read: list[int] = []

    def jobs():
        for number in range(6):
            read.append(number)
            yield Job(sound(2.0), "eng")

    with Recognizer.open(
        tiny_bundle, options=RecognizerOptions(read_ahead_seconds=4.0)
    ) as recognizer:
        outcomes = recognizer.transcribe_each(jobs())
        next(outcomes)
        assert read == [0, 1]
        assert len(list(outcomes)) == 5


def test_default_precision_of_a_cpu_is_fp32(tiny_bundle: Path) -> None:
    with Recognizer.open(tiny_bundle) as recognizer:
        assert "fp32" in repr(recognizer._model.encoder._encoder)


def test_half_precision_uses_a_half_precision_bank(tiny_bundle: Path, tiny: Recognizer) -> None:
    segments = [Segment(normalize(sound(5.0)), "swh")]
    with Recognizer.open(tiny_bundle, precision="fp16") as half:
        got = half._model.logits(segments)[0]
        assert half._model.bank.storage.constants()["adapters"].array.dtype == np.float16
    expected = tiny._model.logits(segments)[0]
    np.testing.assert_allclose(got, expected, atol=0.1)
    assert np.mean(got.argmax(-1) == expected.argmax(-1)) > 0.97


def test_missing_precision_names_the_remedy(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"no int8 graphs, only .*: add them with mms-export"):
        Recognizer.open(tiny_bundle, precision="int8")
