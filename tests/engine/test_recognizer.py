"""The recogniser's API and its errors."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine_sounds import RATE, sound
from mms_engine import Audio, Job, MmsError, Recognizer, RecognizerOptions, Transcript
from mms_engine.audio import normalize
from mms_engine.encoder.emission import Segment
from mms_engine.errors import AudioError, BundleError, LanguageError


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


def test_a_list_gives_a_list(tiny: Recognizer) -> None:
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
        (np.zeros((100, 2), np.float32), r"float32\[N\], got float32\[100, 2\]"),
        (np.zeros(1000), r"got float64\[1000\]"),
        (np.zeros(1000, np.int16), r"got int16\[1000\]"),
        (np.full(1000, np.nan, np.float32), "NaN or infinity"),
        (np.full(1000, np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_samples_that_are_not_sound(tiny: Recognizer, samples: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        tiny.transcribe(samples, "eng")


def test_audio_at_another_rate_is_refused(tiny: Recognizer) -> None:
    with pytest.raises(AudioError, match="has 8000 samples per second, the bundle takes 16000"):
        tiny.transcribe(Audio(np.zeros(8000, np.float32), 8000), "eng")


def test_an_unknown_language_names_the_nearest(tiny: Recognizer) -> None:
    with pytest.raises(LanguageError, match=r"'uzb-script_latn'; did you mean uzb-script_latin\?"):
        tiny.transcribe(sound(1.0), "uzb-script_latn")


def test_as_many_languages_as_audios(tiny: Recognizer) -> None:
    with pytest.raises(ValueError, match="3 audios need as many languages, got 2"):
        tiny.transcribe([sound(1.0)] * 3, ["eng", "swh"])


def test_one_audio_takes_one_language(tiny: Recognizer) -> None:
    with pytest.raises(TypeError, match="one language"):
        tiny.transcribe(sound(1.0), ["eng"])


def test_a_bad_job_among_others_yields_its_error_in_its_place(
    tiny: Recognizer, clip: Path, tmp_path: Path
) -> None:
    jobs = [Job(clip, "eng"), Job(tmp_path / "none.wav", "eng"), Job(clip, "xxx"), Job(clip, "swh")]
    outcomes = list(tiny.transcribe_each(jobs))
    assert [type(outcome) for outcome in outcomes] == [
        Transcript,
        AudioError,
        LanguageError,
        Transcript,
    ]


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

    with Recognizer.open(tiny_bundle, RecognizerOptions(read_ahead_seconds=4.0)) as recognizer:
        outcomes = recognizer.transcribe_each(jobs())
        next(outcomes)
        assert read == [0, 1]
        assert len(list(outcomes)) == 5


def test_the_default_precision_of_a_cpu_is_fp32(tiny_bundle: Path) -> None:
    with Recognizer.open(tiny_bundle) as recognizer:
        assert "fp32" in repr(recognizer._model.encoder._encoder)


def test_half_precision_takes_a_bank_of_half_precision(tiny_bundle: Path, tiny: Recognizer) -> None:
    segments = [Segment(normalize(sound(5.0)), "swh")]
    with Recognizer.open(tiny_bundle, RecognizerOptions(precision="fp16")) as half:
        got = half._model.logits(segments)[0]
        assert half._model.bank.storage.constants()["adapters"].array.dtype == np.float16
    expected = tiny._model.logits(segments)[0]
    np.testing.assert_allclose(got, expected, atol=0.1)
    assert np.mean(got.argmax(-1) == expected.argmax(-1)) > 0.97


def test_a_precision_the_bundle_lacks(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"no int8 graphs, only .*: add them with mms-export"):
        Recognizer.open(tiny_bundle, RecognizerOptions(precision="int8"))


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(MmsError, match=r"holds no manifest\.json"):
        Recognizer.open(tmp_path)


def test_the_ten_lines_of_the_readme(tiny_bundle: Path, clip: Path) -> None:
    from mms_engine import Recognizer as FromThePackage

    recognizer = FromThePackage.open(str(tiny_bundle))
    assert recognizer.transcribe(str(clip), "eng").text
