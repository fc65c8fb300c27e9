"""The examination of a corpus: which clips serve training, and why others do not."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mms_engine.audio import read_audio
from mms_export.training.corpus.audio import LONGEST_SECONDS, cut_clips, read_clips
from mms_export.training.corpus.clip import Clip, Corpus
from mms_export.training.examine import ClipLimits, examine
from mms_export.training.report_formats import report_json, report_text
from mms_export.training.texts import TextRules
from sounds import encode, noise, tone

RULES = TextRules(language="xyz")


def clip(audio: Path, text="ba ab", **fields) -> Clip:
    fields = {"where": f"{audio.name} {fields.get('start', 0)}", "speaker": audio.stem, **fields}
    return Clip(audio=audio, text=text, **fields)


def sound(folder: Path, name: str, samples, rate=16_000, **options) -> Path:
    codec = "pcm_s16le" if name.endswith(".wav") else "flac"
    return encode(folder / name, codec, samples, rate, **options)


def corpus(*clips: Clip) -> Corpus:
    return Corpus(path=Path("corpus"), format="manifest", clips=clips)


def faults(*clips: Clip, rules=RULES, **options) -> dict[str, str]:
    """Return the faults of clips by their places."""
    report = examine(corpus(*clips), rules, **options)
    return {one.where: one.kind for one in report.left_out}


@pytest.mark.parametrize("overlap", [0.0, 0.7])
def test_clips_are_the_samples_of_their_spans(tmp_path, overlap):
    path = sound(tmp_path, "a.wav", noise(9.0))
    whole = read_audio(path).samples
    clips = [clip(path, start=s, end=s + 1 + overlap) for s in (5.0, 0.0, 1.0, 2.0, 8.5)]
    clips.append(clip(path, start=0.5))
    found = dict(read_clips(clips))
    assert set(found) == set(clips)
    for one, samples in found.items():
        end = None if one.end is None else round(one.end * 16_000)
        np.testing.assert_array_equal(samples, whole[round(one.start * 16_000) : end])


def test_a_recording_is_read_only_as_far_as_its_clips_reach_and_memory_is_bounded():
    def endless():
        while True:
            yield np.zeros(16_000, np.float32)

    clips = [clip(Path("a.wav"), start=2.0, end=4.5), clip(Path("a.wav"), end=1000.0)]
    sizes = [samples.size / 16_000 for _, samples in cut_clips(endless(), clips)]
    assert sizes == [2.5, LONGEST_SECONDS]


def test_usable_clips_are_divided_by_speaker_and_counted(tmp_path):
    clips = [
        clip(sound(tmp_path, f"{n}.flac", noise(2.0, seed=n)), text=f"Ab, bӓ {'x' * (n == 0)}")
        for n in range(6)
    ]
    report = examine(corpus(*clips), RULES)
    assert (report.left_out, report.faults) == ((), ())
    assert report.seconds == pytest.approx(12.0)
    assert (len(report.train), len(report.held_out), report.split_unit) == (5, 1, "speaker")
    assert {example.text.split()[0] for example in report.train} == {"ab"}
    assert [(one.letter, one.count) for one in report.characters] == [
        ("b", 12), ("a", 6), ("\u04d3", 6), ("x", 1),
    ]  # fmt: skip


def test_clips_that_would_harm_are_left_out_each_with_its_reason(tmp_path):
    good = sound(tmp_path, "good.wav", noise(5.0))
    quiet = sound(tmp_path, "quiet.wav", 1e-5 * tone(2.0))
    cut = sound(tmp_path, "cut.wav", noise(2.0, seed=1))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    clips = {
        "empty": clip(good, "?!", start=0.1),
        "note": clip(good, "ba [laughs]", start=0.2),
        "digits": clip(good, "ba 12 ab", start=0.3),
        "short": clip(good, start=0.5, end=0.6),
        "long": clip(good, start=0.6),
        "crowded": clip(good, "ab" * 25, start=1.0, end=2.0),
        "silent": clip(quiet),
        "cut off": clip(cut, start=1.0, end=3.0),
        "unreadable": clip(broken),
    }
    found = faults(*clips.values(), limits=ClipLimits(max_seconds=4.0))
    assert found == {one.where: kind for kind, one in clips.items()}


def test_a_text_fits_as_long_as_there_is_a_frame_for_each_letter_and_repeat(tmp_path):
    path = sound(tmp_path, "a.wav", noise(1.01))  # 50 frames
    fits = clip(path, "ab" * 24, where="fits")
    repeats = clip(path, "ab" * 22 + "bbbb", where="repeats", start=0.0, end=1.01)
    assert faults(fits, repeats) == {"repeats": "crowded"}


def test_the_same_sound_twice_is_left_out_and_with_two_texts_both_are(tmp_path):
    one, other = (sound(tmp_path, name, noise(2.0)) for name in ("1.wav", "2.flac"))
    third = sound(tmp_path, "3.wav", noise(2.0, seed=3))
    assert faults(clip(one), clip(other), clip(third)) == {"2.flac 0": "duplicate"}
    assert faults(clip(one), clip(other, "ba"), clip(third)) == {
        "1.wav 0": "contradiction",
        "2.flac 0": "contradiction",
    }


def test_notes_of_transcribers_go_where_the_user_says_so(tmp_path):
    path = sound(tmp_path, "a.wav", noise(2.0))
    rules = TextRules(language="xyz", drop_notes=True, replacements=(("2", "bi"),))
    assert faults(clip(path, "ba <noise> 2"), rules=rules) == {}


def test_48_khz_stereo_is_read_as_mono_at_16_khz(tmp_path):
    samples = tone(2.0, rate=48_000)
    path = sound(tmp_path, "a.wav", samples, 48_000, layout="stereo")
    ((_, read),) = read_clips([clip(path)])
    assert read.size == 32_000
    assert np.abs(read).max() == pytest.approx(0.3, abs=0.01)


def test_channels_that_cancel_out_are_read_and_named(tmp_path):
    path = tmp_path / "a.wav"
    left = noise(2.0)
    soundfile.write(path, np.stack([left, -left], axis=1), 16_000)
    report = examine(corpus(clip(path), clip(path, start=0.5)), RULES)
    assert (report.left_out, report.faults) == ((), ())
    assert any("opposite phase" in one and "1 in all" in one for one in report.warnings)


def test_a_corpus_without_use_says_why_training_cannot_start(tmp_path):
    path = sound(tmp_path, "a.wav", noise(2.0))
    report = examine(corpus(clip(path, "?")), RULES)
    assert "0 clip" in report.faults[0]
    bars = [clip(sound(tmp_path, f"{n}.wav", noise(2.0, seed=n)), "a|b") for n in range(2)]
    report = examine(corpus(*bars), TextRules(language="xyz", normalized=False))
    assert "stands for the space between words" in report.faults[0]


def test_the_report_is_text_and_json(tmp_path):
    paths = [sound(tmp_path, f"{n}.wav", noise(2.0, seed=n)) for n in range(3)]
    report = examine(
        corpus(*(clip(p, f"{'ab' * 12} \u0430") for p in paths), clip(paths[0], "?")), RULES
    )
    text = report_text(report)
    assert "Usable: 3 clips, 6.0 s, 3 speakers" in text
    assert "Split by speaker: 2 clips to train on, 1 held out" in text
    assert "1 empty: no letter in the text\n    0.wav 0: '?'\n" in text
    assert "U+0430 CYRILLIC SMALL LETTER A; looks like a\n" in text
    document = json.loads(report_json(report))
    assert [one["text"] for one in document["train"]] == [f"{'ab' * 12} \u0430"] * 2
    assert document["left_out"] == [{"where": "0.wav 0", "kind": "empty", "detail": "'?'"}]
