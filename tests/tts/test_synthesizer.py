"""Speech of tiny random voices: parity, streams, speed, determinism, reports."""

import hashlib
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import VitsModel, VitsTokenizer

from mms_engine import (
    Audio,
    BundleCorrupt,
    BundleError,
    LanguageError,
    SpeechOptions,
    Spoken,
    Synthesizer,
    SynthesizerOptions,
    TextError,
)
from mms_engine.tts.chunks import margin_steps

QUIET = SpeechOptions(noise_scale=0, noise_scale_duration=0, short_letters=0)
TEXT = "Well, the quick brown fox jumps over it. Then it sleeps; zzz! And 7 more follow it home."


def joined(chunks) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.concatenate([chunk.samples for chunk in chunks])


def reference(folder: Path, text: str, **settings: float) -> np.ndarray:
    model = VitsModel.from_pretrained(folder).eval()
    for name, value in settings.items():
        setattr(model, name, value)
    tokenizer = VitsTokenizer.from_pretrained(folder, pad_token="<pad>")  # noqa: S106
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).waveform[0].numpy()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("eng", "the quick brown fox jumps over it"),
        ("eng", "a"),
        ("tat", "көн яхшы булсын"),
        ("kor", "안녕하세요"),
    ],
)
def test_samples_equal_those_of_transformers(
    synthesizer: Synthesizer, voice_folder: Path, code: str, text: str
) -> None:
    expected = reference(voice_folder / code, text, noise_scale=0.0, noise_scale_duration=0.0)
    found = synthesizer.synthesize(text, code, options=QUIET)
    assert found.samples.shape == expected.shape
    assert np.abs(found.samples - expected).max() < 1e-4
    assert found.sample_rate == 16_000


def test_samples_equal_those_of_transformers_with_the_same_noise(
    synthesizer: Synthesizer, voice_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mms_engine.tts import synthesis

    text = "the quick brown fox"
    tokenizer = VitsTokenizer.from_pretrained(voice_folder / "eng", pad_token="<pad>")  # noqa: S106
    model = VitsModel.from_pretrained(voice_folder / "eng").eval()
    tokens = tokenizer(text, return_tensors="pt")
    ids = tokens["input_ids"][0].numpy()

    def noise(stream: int, *shape: int) -> torch.Tensor:
        return torch.from_numpy(synthesis._noise(5, stream, ids, shape)[None])  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "randn", lambda *shape, **_: noise(0, *shape[1:]))
    monkeypatch.setattr(torch, "randn_like", lambda like: noise(1, *like.shape[1:]))
    with torch.no_grad():
        expected = model(**tokens).waveform[0].numpy()
    found = synthesizer.synthesize(text, "eng", seed=5).samples
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4


def test_half_precision_voice_sounds_the_same(half_bundle: Path, synthesizer: Synthesizer) -> None:
    with Synthesizer.open(half_bundle, threads=1) as half:
        found = half.synthesize("the quick brown fox", "eng", options=QUIET).samples
    expected = synthesizer.synthesize("the quick brown fox", "eng", options=QUIET).samples
    assert abs(found.size - expected.size) <= 3 * 8
    if found.size == expected.size:
        assert np.abs(found - expected).max() < 0.02


def with_margin(synthesizer: Synthesizer, margin: int, text: str, **options: float) -> np.ndarray:
    """Return the samples of a text decoded with another margin."""
    synthesis = synthesizer._models.main.synthesis
    right = synthesis._shape
    synthesis._shape = replace(right, margin=margin)
    try:
        return joined(synthesizer.speak(text, "eng", seed=3, **options))  # type: ignore[arg-type]
    finally:
        synthesis._shape = right


@pytest.mark.parametrize("speed", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("opened", ["synthesizer", "int8_synthesizer"])
def test_joined_chunks_equal_one_run_to_the_bit(
    opened: str, speed: float, request: pytest.FixtureRequest
) -> None:
    synthesizer = request.getfixturevalue(opened)
    text = "the quick brown fox jumps over it and then it sleeps for a long time in its den" * 3
    chunks = list(synthesizer.speak(text, "eng", speed=speed, seed=3))
    assert len(chunks) > 1
    one_run = with_margin(synthesizer, 1 << 30, text, speed=speed)
    assert np.array_equal(joined(chunks), one_run)
    assert np.array_equal(synthesizer.synthesize(text, "eng", speed=speed, seed=3).samples, one_run)


def test_chunks_that_nobody_waits_for_are_large_and_the_same(synthesizer: Synthesizer) -> None:
    text = TEXT * 3
    small = list(synthesizer.speak(text, "eng"))
    large = list(synthesizer.speak(text, "eng", live=False))
    assert len(large) < len(small) / 2
    np.testing.assert_array_equal(joined(large), joined(small))


@pytest.mark.parametrize("opened", ["synthesizer", "int8_synthesizer"])
@pytest.mark.parametrize("missing", [1, 3])
def test_margin_has_no_step_to_spare(
    opened: str, missing: int, request: pytest.FixtureRequest
) -> None:
    synthesizer = request.getfixturevalue(opened)
    text = "the quick brown fox jumps over it and then it sleeps for a long time in its den" * 3
    margin = margin_steps(synthesizer.bundle.manifest.model)
    whole = with_margin(synthesizer, margin, text)
    too_little = with_margin(synthesizer, margin - missing, text)
    assert too_little.shape == whole.shape
    assert not np.array_equal(too_little, whole)


def test_samples_depend_on_the_seed_alone(voice_bundle: Path, synthesizer: Synthesizer) -> None:
    alone = {
        (code, seed): synthesizer.synthesize(TEXT, code, seed=seed).samples
        for code in ("eng", "kor")
        for seed in (0, 1)
    }
    assert not np.array_equal(alone["eng", 0][:500], alone["eng", 1][:500])
    for threads in (1, 2, 3, 8):
        options = SynthesizerOptions(threads=threads, voice_cache_bytes=1)
        with Synthesizer.open(voice_bundle, options=options) as other:
            assert other._models.main.bank.slots == 1  # voices take turns in one slot
            with ThreadPoolExecutor(4) as pool:
                wanted = list(alone) * 2
                found = pool.map(lambda key: other.synthesize(TEXT, key[0], seed=key[1]), wanted)
                for key, speech in zip(wanted, found, strict=True):
                    assert np.array_equal(speech.samples, alone[key])


def test_sentence_sounds_the_same_wherever_it_stands(synthesizer: Synthesizer) -> None:
    alone = synthesizer.synthesize("It sleeps.", "eng").samples
    among = synthesizer.synthesize("Foxes run. It sleeps. It wakes.", "eng")
    first = round(among.sentences[1].start * 16_000)
    assert np.array_equal(among.samples[first : first + alone.size], alone)


def test_parts_of_a_text_do_not_change_its_samples(synthesizer: Synthesizer) -> None:
    whole = synthesizer.synthesize(TEXT, "eng").samples
    assert np.array_equal(synthesizer.synthesize(list(TEXT), "eng").samples, whole)


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.5, 2.0, 3.0, 4.0])
def test_speed_is_the_ratio_of_durations(synthesizer: Synthesizer, speed: float) -> None:
    base = synthesizer.synthesize(TEXT, "eng")
    fast = synthesizer.synthesize(TEXT, "eng", speed=speed)
    assert base.seconds / fast.seconds == pytest.approx(speed, rel=0.02)
    assert fast.sentences[-1].end == pytest.approx(fast.seconds, abs=1e-3)
    assert [word.text for word in fast.words] == [word.text for word in base.words]
    assert all(word.start <= word.end <= fast.seconds + 1e-6 for word in fast.words)


def test_saturated_speed_shortens_the_waveform(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mms_engine.tts import durations, synthesis

    def shortest(*arguments: object) -> durations.Timing:
        timing = durations.timed(*arguments)  # type: ignore[arg-type]
        return durations.Timing(timing.frames, 1.6)

    text = "the quick brown fox jumps over it and then it sleeps for a long time"
    base = synthesizer.synthesize(text, "eng")
    monkeypatch.setattr(synthesis, "timed", shortest)
    fast = synthesizer.synthesize(text, "eng")
    assert fast.samples.size == round(base.samples.size / 1.6)
    assert np.array_equal(joined(synthesizer.speak(text, "eng")), fast.samples)


def test_pauses_are_silent_and_without_clicks(synthesizer: Synthesizer) -> None:
    text = 'It runs. It sleeps.<break time="300ms"/>It wakes.\n\nIt eats.'
    speech = synthesizer.synthesize(text, "eng")
    pauses = [
        second.start - first.end
        for first, second in zip(speech.sentences, speech.sentences[1:], strict=False)
    ]
    assert pauses == pytest.approx([0.35, 0.3, 0.7], abs=1e-3)
    for one in speech.sentences[:-1]:
        end = round(one.end * 16_000)
        silence = speech.samples[end : end + round(0.3 * 16_000)]
        assert not silence[90:-90].any()
        edge = np.abs(np.diff(speech.samples[end - 1 : end + 90]))
        assert edge.max() <= max(0.05 * abs(float(speech.samples[end - 1])), 1e-7)
    none = synthesizer.synthesize(text, "eng", options=SpeechOptions(pause_scale=0))
    assert speech.seconds - none.seconds > 1.0


def test_words_have_exact_times(synthesizer: Synthesizer) -> None:
    speech = synthesizer.synthesize("the quick brown fox", "eng", options=QUIET)
    assert [word.text for word in speech.words] == ["the", "quick", "brown", "fox"]
    starts = [word.start for word in speech.words]
    assert starts == sorted(starts)
    for first, second in zip(speech.words, speech.words[1:], strict=False):
        assert first.start < first.end < second.start
    whole = synthesizer._models.main.synthesis.frame_samples / 16_000
    assert all((time / whole) % 1 == pytest.approx(0, abs=1e-6) for time in starts)


def test_comma_lengthens_the_space(synthesizer: Synthesizer) -> None:
    with_pause = synthesizer.synthesize("the fox, it sleeps", "eng", options=QUIET)
    without = synthesizer.synthesize("the fox it sleeps", "eng", options=QUIET)
    assert with_pause.seconds - without.seconds == pytest.approx(0.15, abs=1e-3)
    assert with_pause.words[1].end == without.words[1].end


@pytest.mark.parametrize("text", ["a", "no", "yes", "7"])
def test_short_text_is_cut_from_its_repetitions(synthesizer: Synthesizer, text: str) -> None:
    speech = synthesizer.synthesize(text, "eng")
    assert speech.samples.size > 0
    assert speech.words[0].start >= 0
    assert speech.words[-1].end <= speech.seconds + 1e-9
    chunks = list(synthesizer.speak(text, "eng"))
    assert np.array_equal(joined(chunks), speech.samples)
    bare = synthesizer.synthesize(text, "eng", options=SpeechOptions(short_letters=0))
    assert not np.array_equal(speech.samples[:50], bare.samples[:50]) or text == "7"


def test_dropped_characters_are_reported_with_each_sentence(synthesizer: Synthesizer) -> None:
    spoken: list[Spoken] = []
    chunks = synthesizer.speak("Көн. Ямьле 😀 5!", "tat", on_sentence=spoken.append)
    next(chunks)
    assert len(spoken) == 1
    assert "'ө' (U+04E9) at character 1" in spoken[0].warnings[0]
    assert "'ѳ' (U+0473)" in spoken[0].warnings[0]
    joined(chunks)
    lost = [(one.text, one.kind) for one in spoken[1].dropped if one.is_loss]
    assert lost == [("😀", "symbol"), ("5", "digit")]
    mapped = synthesizer.synthesize("Көн", "tat", options=SpeechOptions(map_look_alikes=True))
    assert mapped.warnings == ()


def test_text_without_letters_is_an_error(synthesizer: Synthesizer) -> None:
    with pytest.raises(TextError, match=r"nothing to speak .* it has no '你好' at character 0"):
        synthesizer.synthesize("你好 …", "eng")
    for text in ("", " \n", "…", "<break/>"):
        with pytest.raises(TextError, match="nothing to speak"):
            synthesizer.synthesize(text, "eng")


def test_unknown_voices_and_options_are_errors(synthesizer: Synthesizer) -> None:
    with pytest.raises(LanguageError, match="name one of eng, kor, tat"):
        synthesizer.speak("a")
    with pytest.raises(LanguageError, match="does not have the language 'enf'"):
        synthesizer.speak("a", "enf")
    for bad in ({"speed": 5.0}, {"speed": 0.1}, {"seed": -1}, {"noise_scale": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            synthesizer.speak("a", "eng", **bad)  # type: ignore[arg-type]


def test_first_audio_comes_before_the_second_sentence_is_read(synthesizer: Synthesizer) -> None:
    ready = threading.Event()

    def parts():  # type: ignore[no-untyped-def]
        yield "The quick brown fox. " + "X" * 150
        assert ready.wait(20)
        yield " y. The end."

    chunks = synthesizer.speak(parts(), "eng")
    assert isinstance(next(chunks), Audio)
    ready.set()
    assert sum(chunk.samples.size for chunk in chunks)


def test_error_of_a_later_sentence_comes_after_the_audio_before_it(
    synthesizer: Synthesizer,
) -> None:
    first = synthesizer.synthesize("The fox.", "eng").samples
    options = SpeechOptions(numbers="error")
    found = []
    with pytest.raises(TextError, match="cannot read '½'"):
        for chunk in synthesizer.speak("The fox. It ½.", "eng", options=options):
            found.append(chunk.samples)  # noqa: PERF401 (it raises)
    assert np.array_equal(np.concatenate(found), first)


def test_long_text_streams_in_flat_memory(synthesizer: Synthesizer) -> None:
    """Most of it is skipped by the voice, so that the test is short; all of it is reported."""
    line = "你好世界 " * 100 + "fox. "
    options = SpeechOptions(short_letters=0)

    def peak(lines: int) -> int:
        reported = 0

        def count(spoken: Spoken) -> None:
            nonlocal reported
            reported += sum(len(one.text) for one in spoken.dropped)

        parts = (line for _ in range(lines))
        tracemalloc.start()
        try:
            for _ in synthesizer.speak(parts, "eng", options=options, on_sentence=count):
                pass
            highest = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert reported == lines * (4 * 100 + 1)
        return highest

    peak(2)
    # Reports of 32 lines would be a megabyte; the interpreter keeps some freed objects for reuse.
    assert peak(40) < peak(8) + 100_000


def test_damaged_or_foreign_voices_are_errors(voice_bundle: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(voice_bundle, tmp_path / "bundle")
    path = tmp_path / "bundle/voices/eng.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with Synthesizer.open(tmp_path / "bundle") as opened:
        with pytest.raises(BundleCorrupt, match="SHA-256"):
            joined(opened.speak("fox", "eng"))
        assert joined(opened.speak("көн", "tat")).size
    shutil.copy(tmp_path / "bundle/voices/tat.safetensors", path)
    options = SynthesizerOptions(verify=False)
    with (
        Synthesizer.open(tmp_path / "bundle", options=options) as opened,
        pytest.raises(BundleError),
    ):
        joined(opened.speak("fox", "eng"))


def test_graphs_are_opened_once_and_voices_shared(voice_bundle: Path) -> None:
    with Synthesizer.open(voice_bundle, threads=1) as opened:
        main = opened._models.main
        sessions = {name: list(lanes._sessions) for name, lanes in main.graphs._lanes.items()}
        opened.preload(["eng", "tat"])
        assert set(main.bank.keys) == {"eng", "tat"}
        for code in ("eng", "tat", "eng"):
            joined(opened.speak("fox көн", code))
        assert sessions == {name: lanes._sessions for name, lanes in main.graphs._lanes.items()}
        assert opened._models.main is main
        assert set(opened._models.main.bank.keys) == {"eng", "tat"}
    digest = hashlib.sha256((voice_bundle / "voices/eng.safetensors").read_bytes()).hexdigest()
    assert digest == opened.bundle.manifest.data["eng"].file.sha256
