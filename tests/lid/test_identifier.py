"""The identifier: answers, joined windows, sets of languages, and independence of all else."""

import dataclasses
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoFeatureExtractor, Wav2Vec2ForSequenceClassification

from engine_sounds import RATE, sound
from mms_engine import (
    Aligner,
    Audio,
    AudioError,
    Identification,
    Identifier,
    IdentifierOptions,
    LanguageScore,
    Recognizer,
    read_audio,
)
from mms_engine.audio import normalize, statistics
from mms_engine.bundle.manifest import decode, encode
from mms_engine.encoder.emission import Segment
from mms_engine.errors import BundleCorrupt, BundleError, LanguageError
from mms_engine.lid.activity import FrameLevels
from sounds import noise, tone
from tiny_models import LID_LABELS

ANY = IdentifierOptions(min_logit=float("-inf"), threads=1)
CLIPS = Path(__file__).resolve().parents[2] / "examples/demo/clips"


def logits(found: Identification | LanguageScore) -> np.ndarray:
    """Return the logits of all labels in the checkpoint's order."""
    by_code = {score.code: score.logit for score in found.scores}
    return np.array([by_code[label] for label in LID_LABELS])


def model_logits(identifier: Identifier, samples: np.ndarray) -> np.ndarray:
    """Return the graph's logits for normalised samples, run alone."""
    return identifier._model.logits([Segment(samples, "")])[0][0]


def test_scores_are_those_of_transformers(identifier: Identifier, lid_checkpoint: Path) -> None:
    extractor = AutoFeatureExtractor.from_pretrained(lid_checkpoint)
    model = Wav2Vec2ForSequenceClassification.from_pretrained(lid_checkpoint).eval()
    for seed in range(3):
        samples = sound(1.5 + 4 * seed, seed)
        with torch.inference_mode():
            inputs = extractor(samples, sampling_rate=RATE, return_tensors="pt")
            expected = model(**inputs).logits[0]
        found = identifier.identify(samples, top=99)
        np.testing.assert_allclose(logits(found), expected.numpy(), atol=1e-3)
        assert found.language == LID_LABELS[int(expected.argmax())]
        probabilities = [score.probability for score in found.scores]
        np.testing.assert_allclose(
            probabilities, expected.softmax(-1).sort(descending=True)[0], atol=1e-4
        )


def test_windows_of_one_batch_are_as_alone(lid_bundle: Path) -> None:
    """Trap 1: the answer must not change with the padding or the neighbour of a row."""
    samples = sound(11.3)
    options = dataclasses.replace(ANY, window_seconds=2.0)
    with Identifier.open(lid_bundle, options=options) as alone:
        expected = alone.identify(samples, top=99)
    batched = dataclasses.replace(options, batch_frames=10_000, threads=2)
    with Identifier.open(lid_bundle, options=batched) as together:
        found = together.identify(samples, top=99)
    assert len(expected.windows) == 6
    for one, other in zip(found.windows, expected.windows, strict=True):
        np.testing.assert_allclose(logits(one), logits(other), atol=5e-5)
    np.testing.assert_allclose(logits(found), logits(expected), atol=5e-5)


def test_audio_shorter_than_a_frame_is_answered_without_a_run(
    lid_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 2: a row of no frames would be averaged as a whole."""
    options = dataclasses.replace(ANY, min_speech_seconds=0.0)
    with Identifier.open(lid_bundle, options=options) as identifier:
        assert identifier.identify(sound(400 / RATE)).answer == "language"
        monkeypatch.setattr(
            identifier._encoder, "run_stream", lambda *_: pytest.fail("the graph ran")
        )
        for samples in (0, 1, 319, 399):
            found = identifier.identify(sound(1.0)[:samples])
            assert (found.answer, found.language, found.scores) == ("too_short", None, ())
            assert found.seconds == samples / RATE


def test_windows_are_normalised_by_the_whole_recording(lid_bundle: Path) -> None:
    """Trap 5: statistics of a window would change its logits."""
    samples = np.concatenate([sound(2.0, 1), 0.05 * sound(2.0, 2), 0.3 + 0.5 * sound(2.0, 3)])
    options = dataclasses.replace(ANY, window_seconds=2.0)
    with Identifier.open(lid_bundle, options=options) as identifier:
        found = identifier.identify(samples, top=99)
        for number, window in enumerate(found.windows[:-1]):
            frames = identifier._model.geometry.span(100 * number, 100 * number + 100)
            part = samples[frames]
            expected = model_logits(identifier, statistics(samples).apply(part))
            np.testing.assert_allclose(logits(window), expected, atol=1e-4)
            assert np.abs(expected - model_logits(identifier, normalize(part))).max() > 1e-2


def test_windows_are_joined_by_mean_of_log_probabilities_weighted_by_speech(
    lid_bundle: Path,
) -> None:
    """Trap 6: the mean of probabilities, or silence with a weight, would give another answer."""
    quiet = np.zeros(4 * RATE, np.float32)
    samples = np.concatenate([sound(3.0, 1), quiet, sound(4.0, 2)])
    options = dataclasses.replace(ANY, window_seconds=2.0)
    with Identifier.open(lid_bundle, options=options) as identifier:
        found = identifier.identify(samples, top=99)
    weights = np.array([window.speech_seconds for window in found.windows])
    assert weights.min() == 0 < weights.max()
    rows = np.stack([logits(window) for window in found.windows])
    log_probs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    joined = (weights[:, None] * log_probs).sum(axis=0) / weights.sum()
    expected = np.exp(joined) / np.exp(joined).sum()
    by_code = {score.code: score.probability for score in found.scores}
    np.testing.assert_allclose([by_code[label] for label in LID_LABELS], expected, atol=1e-9)
    assert sum(by_code.values()) == pytest.approx(1)
    assert found.speech_seconds == pytest.approx(weights.sum(), abs=0.05)
    silent = [w.answer for w in found.windows if w.speech_seconds == 0]
    assert set(silent) == {"no_speech"}
    assert (found.windows[0].start, found.windows[-1].end) == (0, pytest.approx(11.0, abs=0.05))
    for before, after in zip(found.windows, found.windows[1:], strict=False):
        assert before.end == after.start


def test_memory_does_not_grow_with_the_recording(lid_bundle: Path, tmp_path: Path) -> None:
    minute, path = sound(60.0), tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(20):
            file.write(minute)
    with Identifier.open(lid_bundle, options=ANY) as identifier:
        identifier.identify(minute)
        tracemalloc.start()
        found = identifier.identify(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(found.windows) == 60
    assert peak < 40e6 < 4 * 20 * minute.size


def test_among_masks_before_softmax(identifier: Identifier) -> None:
    samples = sound(3.0, 5)
    everything = identifier.identify(samples, top=99)
    worst = [score.code for score in everything.scores[-3:]]
    found = identifier.identify(samples, among=worst, top=99)
    assert [score.code for score in found.scores] == worst
    assert found.language == worst[0]
    assert sum(score.probability for score in found.scores) == pytest.approx(1)
    for score in found.scores:
        same = next(one for one in everything.scores if one.code == score.code)
        assert score.logit == same.logit
        assert score.unrestricted_probability == same.probability < score.probability
    again = identifier.identify(samples, among=reversed([*worst, worst[0]]), top=99)
    assert again == found
    (only,) = identifier.identify(samples, among=worst[2], top=99).scores
    assert (only.code, only.probability) == (worst[2], 1.0)
    assert len(identifier.identify(samples, top=2).scores) == 2


def test_unknown_languages_are_refused(identifier: Identifier) -> None:
    with pytest.raises(LanguageError, match="cannot identify 'en'; did you mean eng"):
        identifier.identify(sound(1.0), among=["fra", "en"])
    with pytest.raises(LanguageError, match="no languages to choose from"):
        identifier.identify(sound(1.0), among=[])
    with pytest.raises(ValueError, match="top is 0"):
        identifier.identify(sound(1.0), top=0)


def test_best_logit_below_the_floor_is_unsure(lid_bundle: Path, identifier: Identifier) -> None:
    samples = sound(2.0)
    best, _, third = identifier.identify(samples).scores
    for floor, among, answer in (
        (best.logit, None, "language"),
        (best.logit + 0.01, None, "unsure"),
        (best.logit, [third.code], "unsure"),
    ):
        options = dataclasses.replace(ANY, min_logit=floor)
        with Identifier.open(lid_bundle, options=options) as strict:
            found = strict.identify(samples, among)
        expected = best if among is None else third
        assert (found.answer, found.scores[0].code) == (answer, expected.code)
        assert found.language == (best.code if answer == "language" else None)
        assert found.windows[0].answer == answer


BACKGROUNDS = {
    "silence": np.zeros(3 * RATE, np.float32),
    "offset": np.full(3 * RATE, 0.25, np.float32),
    "dither": np.random.default_rng(0).integers(-1, 2, 3 * RATE).astype(np.float32) / 2**15,
    "white": noise(300.0),
    "brown": (0.01 * np.cumsum(noise(300.0, seed=1))).astype(np.float32),
    "tone": tone(5.0),
    "hum": tone(5.0, hertz=60.0, amplitude=0.9),
    "hum and noise": tone(60.0, hertz=50.0) + 0.03 * noise(60.0),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_silence_and_steady_noise_are_no_speech(
    identifier: Identifier, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(identifier._encoder, "run_stream", lambda *_: pytest.fail("the graph ran"))
    found = identifier.identify(BACKGROUNDS[name])
    assert (found.answer, found.language, found.scores) == ("no_speech", None, ())
    assert found.speech_seconds < 0.1
    assert found.seconds == len(BACKGROUNDS[name]) / RATE


@pytest.mark.parametrize("path", sorted(CLIPS.glob("*.flac"))[::7], ids=lambda path: path.stem)
def test_clips_have_speech(path: Path) -> None:
    samples = read_audio(path).samples
    levels = FrameLevels(320, RATE)
    assert sum(map(len, levels.measured([samples]))) == len(samples)
    clean = levels.speech()
    assert 0.2 <= clean.mean() <= 0.95
    quieter, noisy = FrameLevels(320, RATE), FrameLevels(320, RATE)
    list(quieter.measured([samples / 8]))
    assert quieter.speech().mean() >= 0.2
    # White noise 5 dB below the speech.
    level = np.sqrt(np.square(samples).mean() / 10**0.5)
    list(noisy.measured([samples + level * 10 * noise(len(samples) / RATE)]))
    assert noisy.speech().sum() >= 0.3 * clean.sum()
    assert (noisy.speech() & clean).sum() >= 0.9 * noisy.speech().sum()


def test_levels_do_not_depend_on_pieces() -> None:
    samples = sound(3.0)
    whole, cut = FrameLevels(320, RATE), FrameLevels(320, RATE)
    list(whole.measured([samples]))
    list(cut.measured(np.split(samples, [0, 1, 319, 320, 700, 20_001])))
    np.testing.assert_array_equal(whole.speech(), cut.speech())
    assert whole.samples == cut.samples == len(samples)


def test_answer_does_not_depend_on_order_source_or_threads(
    lid_bundle: Path, identifier: Identifier, tmp_path: Path
) -> None:
    audios = [sound(s, i) for i, s in enumerate((3.0, 0.5, 25.0))]
    expected = [identifier.identify(audio, top=99) for audio in audios]
    assert [identifier.identify(audio, top=99) for audio in reversed(audios)] == expected[::-1]
    for number, audio in enumerate(audios):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, audio, RATE, "FLOAT")
        assert identifier.identify(path, top=99) == expected[number]
        assert identifier.identify(Audio(audio, RATE), top=99) == expected[number]
        with path.open("rb") as stream:
            assert identifier.identify(stream, top=99) == expected[number]
    with Identifier.open(lid_bundle, options=ANY, threads=2) as other:
        for audio, one in zip(audios, expected, strict=True):
            np.testing.assert_allclose(
                logits(other.identify(audio, top=99)), logits(one), atol=5e-5
            )


def test_progress_is_that_of_the_audio(identifier: Identifier) -> None:
    done: list[float] = []
    identifier.identify(sound(50.0), progress=done.append)
    assert len(done) == 3
    assert sum(done) == pytest.approx(50.0, abs=0.1)


def test_bundle_of_another_task_is_refused(lid_bundle: Path) -> None:
    for task in (Recognizer, Aligner):
        with pytest.raises(BundleError, match=r"holds a Wav2Vec2Classifier .*mms-1b-all"):
            task.open(lid_bundle)


def test_labels_that_are_not_those_of_the_graph_are_refused(
    lid_bundle: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(lid_bundle, tmp_path / "bundle")
    path = bundle / "manifest.json"
    manifest = decode(path.read_bytes(), where="")
    path.write_bytes(encode(manifest).replace(b'"ara",', b'"ara","arz",'))
    with (
        Identifier.open(bundle, options=ANY) as opened,
        pytest.raises(BundleCorrupt, match="9 labels, its encoder 8 outputs"),
    ):
        opened.identify(sound(1.0))


def test_unreadable_audio_and_options_are_refused(identifier: Identifier, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioError):
        identifier.identify(tmp_path / "text.wav")
    for wrong in (
        {"window_seconds": 0.5},
        {"window_seconds": 61.0},
        {"window_seconds": float("nan")},
        {"min_logit": float("nan")},
        {"min_speech_seconds": -1.0},
        {"batch_frames": -1},
        {"track": 0},
        {"channel": 0},
        {"threads": -1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            IdentifierOptions(**wrong)
