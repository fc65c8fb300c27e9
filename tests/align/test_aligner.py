"""Times of the demo's clips, joined; and what must not change them."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from align_speech import RATE, Speech, join
from mms_engine import (
    Aligner,
    AlignerOptions,
    Alignment,
    AlignmentError,
    Audio,
    AudioError,
    AudioLimits,
    LanguageError,
    WindowOptions,
)
from mms_kernels.reference.align import align_log_probs

Clips = dict[str, list[Speech]]


def errors_of(found: Alignment, alone: list[Alignment], offsets: list[float]) -> np.ndarray:
    """Return start and end of each word, less those of the clip alone, `[words, 2]`."""
    errors = []
    for word in found.words:
        number = word.line
        index = sum(other.line == number for other in found.words[: len(errors)])
        own = alone[number].words[index]
        assert own.text == word.text
        errors.append(
            (word.start - own.start - offsets[number], word.end - own.end - offsets[number])
        )
    return np.array(errors)


@pytest.mark.parametrize("stars", ["edges", "lines"])
def test_words_of_joined_clips_are_where_they_are_in_each(
    demo_bundle: Path, speech: Clips, stars: str
) -> None:
    """The clips alone give the truth: their borders are known, and context is the pauses only."""
    parts = []
    with Aligner.open(demo_bundle, threads=2, options=AlignerOptions(stars=stars)) as aligner:
        for language, own in speech.items():
            clips = [*own, *own[::-1]] * 3
            joined = join(clips, seed=1)
            alone = [aligner.align(clip.samples, clip.text, language) for clip in own]
            found = aligner.align(joined.samples, "\n".join(c.text for c in clips), language)
            offsets = [start for start, _ in joined.spans]
            parts.append(errors_of(found, [*alone, *alone[::-1]] * 3, offsets))
            for line, (start, end) in zip(found.lines, joined.spans, strict=True):
                assert start - 0.02 <= line.start < line.end <= end + 0.02
    errors = np.abs(np.concatenate(parts))
    assert np.median(errors) <= 0.02
    assert np.percentile(errors, 90) <= 0.06
    assert np.percentile(errors, 99) <= 0.25


def test_spans_of_real_speech_are_the_references(aligner: Aligner, speech: Clips) -> None:
    """Without stars and division, the path of each clip is the reference's."""
    from mms_engine.encoder.emission import Segment

    for language, clips in speech.items():
        tokens = aligner._model.vocabulary(language).tokens
        for clip in clips:
            found = aligner.align(clip.samples, clip.text, language)
            mean, scale = clip.samples.mean(dtype=float), clip.samples.std(dtype=float)
            samples = ((clip.samples - mean) / np.sqrt(scale**2 + 1e-7)).astype(np.float32)
            (logits,) = aligner._model.logits([Segment(samples, language)])
            log_probs = logits - np.log(np.exp(logits.astype(float)).sum(axis=1, keepdims=True))
            target = [tokens.index("|" if c == " " else c) for c in clip.text]
            expected = align_log_probs(log_probs, np.array(target))
            letters = np.array(list(clip.text)) != " "
            starts = [c.start for word in found.words for c in word.characters]
            same = np.isclose(starts, expected.starts[letters] * 0.02)
            assert same.mean() >= 0.97, clip.text


def test_no_drift_over_a_long_recording(aligner: Aligner, speech: Clips) -> None:
    """Ten minutes in windows: the error of the last minute is that of the first."""
    language = "eng"
    clips = speech[language] * 40
    joined = join(clips, seed=2, pauses=(0.5, 2.0))
    alone = [aligner.align(clip.samples, clip.text, language) for clip in speech[language]] * 40
    found = aligner.align(joined.samples, "\n".join(c.text for c in clips), language)
    assert found.seconds > 580
    errors = np.abs(errors_of(found, alone, [start for start, _ in joined.spans]))
    starts = np.array([word.start for word in found.words])
    first, last = errors[starts < 60], errors[starts > found.seconds - 60]
    assert np.median(first) <= 0.02
    assert np.median(last) <= 0.02
    assert abs(np.mean(first) - np.mean(last)) <= 0.02
    assert np.percentile(errors, 99) <= 0.25


def test_windows_change_times_by_little(demo_bundle: Path, speech: Clips) -> None:
    clips = speech["rus"] * 4
    joined = join(clips, seed=3)
    text = "\n".join(clip.text for clip in clips)
    times = []
    for seconds in (60.0, 10.0, 5.0):
        windows = WindowOptions(seconds=seconds, context_seconds=3.0)
        with Aligner.open(demo_bundle, threads=2, options=AlignerOptions(windows=windows)) as one:
            found = one.align(joined.samples, text, "rus")
        times.append([(word.start, word.end) for word in found.words])
    for other in times[1:]:
        assert np.median(np.abs(np.array(other) - times[0])) <= 0.02
        assert np.percentile(np.abs(np.array(other) - times[0]), 95) <= 0.06


def test_source_threads_and_batch_do_not_change_the_result(
    demo_bundle: Path, speech: Clips, tmp_path: Path
) -> None:
    clips = speech["spa"] * 5
    joined = join(clips, seed=4)
    text = "\n".join(clip.text for clip in clips)
    path = tmp_path / "joined.wav"
    soundfile.write(path, joined.samples, RATE, subtype="FLOAT")
    windows = WindowOptions(seconds=6.0, context_seconds=1.0)
    found = []
    for threads, frames in ((1, 0), (2, 0), (2, 1600)):
        options = AlignerOptions(windows=windows, batch_frames=frames)
        with Aligner.open(demo_bundle, threads=threads, options=options) as aligner:
            sources = [path, str(path), io.BytesIO(path.read_bytes()), joined.samples]
            sources.append(Audio(joined.samples, RATE))
            found += [aligner.align(source, text, "spa") for source in sources]
            with ThreadPoolExecutor(4) as pool:
                found += pool.map(lambda _: aligner.align(path, text, "spa"), range(4))
    for one in found[1:]:
        assert [(w.start, w.end, w.trusted) for w in one.words] == [
            (w.start, w.end, w.trusted) for w in found[0].words
        ]


def test_progress_counts_all_seconds_and_can_stop(aligner: Aligner, speech: Clips) -> None:
    clips = speech["ita"] * 12
    joined = join(clips, seed=5)
    text = "\n".join(clip.text for clip in clips)
    counted: list[float] = []
    found = aligner.align(joined.samples, text, "ita", progress=counted.append)
    assert sum(counted) == pytest.approx(found.seconds, abs=0.05)
    assert len(counted) > 1

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        aligner.align(joined.samples, text, "ita", progress=stop)
    assert threading.active_count() == before
    assert aligner.align(joined.samples, text, "ita") == found


def test_result_is_json(aligner: Aligner, speech: Clips) -> None:
    clip = speech["eng"][0]
    found = aligner.align(clip.samples, clip.text, "eng")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Alignment) == found
    assert found.language == "eng"
    assert found.seconds == pytest.approx(clip.seconds)


def test_original_words_are_kept(aligner: Aligner, speech: Clips) -> None:
    clip = speech["eng"][0]
    written = "  Letters, of  YOUR\tparty's — first\r\n\r\n\u201cname\u201d!\n"
    found = aligner.align(clip.samples, written, "eng")
    assert " ".join(word.text for word in found.words).split() == written.split()
    plain = aligner.align(clip.samples, clip.text, "eng")
    assert [(w.start, w.end) for w in found.words if w.aligned] == [
        (w.start, w.end) for w in plain.words
    ]
    party = next(word for word in found.words if word.text.startswith("party"))
    assert "".join(character.text for character in party.characters) == "party's"


def test_bad_input_is_one_clear_error(demo_bundle: Path, aligner: Aligner, tmp_path: Path) -> None:
    second = np.zeros(RATE, np.float32)
    with pytest.raises(AlignmentError, match=r"none of the text's 2 words has a letter"):
        aligner.align(second, "你好 مرحبا", "eng")
    with pytest.raises(AlignmentError, match="the text is empty"):
        aligner.align(second, " \n\n", "eng")
    with pytest.raises(AlignmentError, match="less than a frame"):
        aligner.align(second[:300], "word", "eng")
    with pytest.raises(LanguageError):
        aligner.align(second, "word", "xyz")
    with pytest.raises(AudioError, match="missing"):
        aligner.align(tmp_path / "missing.wav", "word", "eng")
    with (
        Aligner.open(demo_bundle, limits=AudioLimits(max_seconds=0.5)) as limited,
        pytest.raises(AudioError, match="longer than"),
    ):
        limited.align(second, "word", "eng", sample_rate=RATE // 2)
    with (
        Aligner.open(demo_bundle, options=AlignerOptions(max_bytes=1000)) as small,
        pytest.raises(AlignmentError, match=r"exceeds 1000 bytes.*AlignerOptions.max_bytes"),
    ):
        small.align(second, "word", "eng")


@pytest.mark.parametrize(
    "options", [{"padding_seconds": -1}, {"batch_frames": -1}, {"max_bytes": 0}, {"track": 0}]
)
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        AlignerOptions(**options)


def test_silence_and_one_frame(aligner: Aligner) -> None:
    found = aligner.align(np.zeros(5 * RATE, np.float32), "some words", "eng")
    assert found.trusted_share == 0
    assert {region.kind for region in found.regions} <= {"untrusted", "extra"}
    one = aligner.align(np.zeros(400, np.float32), "some words", "eng")
    assert one.lines[0].error is not None
    assert not any(word.aligned for word in one.words)


def test_damaged_audio_is_listed(demo_bundle: Path, speech: Clips, tmp_path: Path) -> None:
    clip = speech["eng"][1]
    samples = clip.samples.copy()
    samples[30_000:31_000] = np.nan
    path = tmp_path / "damaged.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    with Aligner.open(demo_bundle, options=AlignerOptions(allow_truncated=True)) as aligner:
        found = aligner.align(path, clip.text, "eng")
    assert [(span.start, span.end) for span in found.missing] == [(1.875, 1.938)]
    assert any("missing" in warning for warning in found.warnings)


def test_raw_and_normalised_waveforms_follow_the_manifest(
    aligner: Aligner, speech: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model trained on normalised audio does not depend on the level; one on raw audio does."""
    clip = speech["eng"][2]
    loud, quiet = clip.samples, clip.samples * np.float32(0.25)
    seen = []
    original = type(aligner._encoder).run_stream

    def spy(self, pieces, normalization, *rest):
        seen.append(normalization)
        return original(self, pieces, normalization, *rest)

    monkeypatch.setattr(type(aligner._encoder), "run_stream", spy)
    a, b = (aligner.align(s, clip.text, "eng") for s in (loud, quiet))
    assert seen[1].scale / seen[0].scale == pytest.approx(4, rel=1e-3)
    assert [w.start for w in a.words] == [w.start for w in b.words]
    model = type(aligner.bundle).model
    raw = msgspec.structs.replace(aligner.bundle.manifest.model, normalize=False)
    monkeypatch.setattr(
        type(aligner.bundle), "model", lambda self, kind: raw if self is aligner.bundle else model
    )
    aligner.align(loud, clip.text, "eng")
    assert (seen[2].mean, seen[2].scale) == (0.0, 1.0)
