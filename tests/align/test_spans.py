"""Spans of letters and words in emissions whose best path is known."""

from typing import get_args

import numpy as np
import pytest

from align_speech import FRAME, LATIN, emission_of, random_text, spoken_logits
from mms_engine.align.aligner import align_emission
from mms_engine.align.options import AlignerOptions
from mms_engine.align.search import find_spans
from mms_engine.align.target import NO_LETTER, Block, Target
from mms_engine.text.targets import targets
from mms_engine.types import Alignment, WordTimes
from mms_kernels import STAR
from mms_kernels.reference.align import align_log_probs


def align(logits: np.ndarray, text: str, **options: object) -> Alignment:
    block = options.pop("block_seconds", 60.0)
    chosen = AlignerOptions(**{"times": "tight", **options})
    target = targets(text, "eng", LATIN, romanized=False, numbers=chosen.numbers)
    return align_emission(emission_of(logits), target, LATIN, chosen, FRAME, block)


def random_case(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return log-probabilities `[T, V]` and a target that fits, often barely."""
    target = random.integers(5, 9, int(random.integers(1, 13)))
    repeats = int((target[1:] == target[:-1]).sum())
    frames = len(target) + repeats + int(random.choice([0, 1, 2, 30]))
    logits = random.normal(0, 3, (frames, len(LATIN))).astype(np.float32)
    return logits, target


def spans_of(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return start and end of each letter, as the engine finds them."""
    block = Block(0, len(target), 0, len(logits))
    plan = Target(target, np.arange(len(target)), (block,), ())
    spans = find_spans(emission_of(logits), plan, len(target))
    return np.stack([spans.starts, spans.ends])


def test_spans_are_the_references() -> None:
    random = np.random.default_rng(0)
    for _ in range(2000):
        logits, target = random_case(random)
        emission = emission_of(logits)
        columns = np.array([emission.columns[token] for token in target.tolist()])
        expected = align_log_probs(emission.log_probs.astype(np.float64), columns)
        found = spans_of(logits, target)
        np.testing.assert_array_equal(found, np.stack([expected.starts, expected.ends]))


def test_spans_are_torchaudios() -> None:
    """Its tie rule is wrong (pytorch/audio#4221); continuous scores have no ties."""
    try:
        import torch
        from torchaudio.functional import forced_align
    except (ImportError, OSError) as error:
        pytest.skip(f"torchaudio cannot be imported: {error}")
    random = np.random.default_rng(1)
    for _ in range(2000):
        logits, target = random_case(random)
        log_probs = torch.from_numpy(logits).log_softmax(-1)[None]
        path, _ = forced_align(log_probs, torch.from_numpy(target)[None], blank=0)
        labels = path[0].numpy()
        begins = np.flatnonzero((labels != 0) & (np.diff(labels, prepend=0) != 0))
        ends = np.flatnonzero((labels != 0) & (np.diff(labels, append=0) != 0)) + 1
        np.testing.assert_array_equal(spans_of(logits, target), np.stack([begins, ends]))


def test_star_takes_frames_of_other_speech() -> None:
    random = np.random.default_rng(2)
    before, _ = spoken_logits("quite another matter", random)
    said, places = spoken_logits("six sheep", random)
    emission = emission_of(np.concatenate([before, said]))
    target = targets("six sheep", "eng", LATIN, romanized=False)
    ids = [letter.token for word in target.words for letter in word.letters]
    plan = Target(
        np.array([STAR, *ids]),
        np.array([NO_LETTER, *range(len(ids))]),
        (Block(0, len(ids) + 1, 0, emission.frames),),
        (),
    )
    found = find_spans(emission, plan, len(ids))
    np.testing.assert_array_equal(found.starts, places + len(before))


def starts_of(found: Alignment) -> list[float]:
    return [character.start for word in found.words for character in word.characters]


@pytest.mark.parametrize("errors", [0.0, 0.2])
def test_division_does_not_change_a_text_that_fits(errors: float) -> None:
    random = np.random.default_rng(3)
    text = random_text(150, random)
    logits, _ = spoken_logits(text, random, errors=errors)
    whole = align(logits, text, block_seconds=float("inf"))
    for seconds in (1.0, 5.0, 20.0):
        assert align(logits, text, block_seconds=seconds) == whole


def test_times_are_those_of_the_letters() -> None:
    random = np.random.default_rng(4)
    text = random_text(60, random)
    logits, places = spoken_logits(text, random)
    found = align(logits, text)
    np.testing.assert_allclose(starts_of(found), places * FRAME, atol=1e-9)
    assert found.trusted_share == 1
    assert not found.regions
    assert [word.text for word in found.words] == text.split()
    assert [line.text for line in found.lines] == text.split("\n")


@pytest.mark.parametrize(("cut", "moved"), [(1, 0), (2, None), (3, 3)])
def test_a_single_letter_beyond_a_pause_stays_with_its_word(cut: int, moved: int | None) -> None:
    """A pause of 1.2 s before letter `cut` of a word of four; two letters on each side stay."""
    logits, places = spoken_logits("the name is", np.random.default_rng(6))
    pause = np.full((60, len(LATIN)), -8, np.float32)
    pause[:, 0] = 8
    letters = np.arange(len(places))
    at = places[3 + cut]
    expected = places + 60 * (letters >= 3 + cut)
    if moved is not None:
        neighbour = 3 + (cut if moved == 0 else cut - 1)
        expected[3 + moved] = expected[neighbour] + (-1 if moved == 0 else 1)
    found = align(np.concatenate([logits[:at], pause, logits[at:]]), "the name is")
    np.testing.assert_allclose(starts_of(found), expected * FRAME, atol=1e-9)
    check_order(found)


def check_order(found: Alignment) -> None:
    """Starts and ends increase, lie inside the audio, and no word ends before it starts."""
    starts, ends = zip(*((w.start, w.end) for w in found.words), strict=True)
    assert all(a <= b for a, b in zip(starts, ends, strict=True))
    assert list(starts) == sorted(starts)
    assert list(ends) == sorted(ends)
    assert all(a <= b + 1e-9 for a, b in zip(ends, starts[1:], strict=False)), "words overlap"
    assert starts[0] >= 0
    assert ends[-1] <= found.seconds + 1e-9
    for word in found.words:
        for character in word.characters:
            assert word.start <= character.start <= character.end <= word.end


@pytest.mark.parametrize("times", get_args(WordTimes))
@pytest.mark.parametrize("padding", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("case", range(8))
def test_order_holds_for_any_text(times: str, padding: float, case: int) -> None:
    random = np.random.default_rng(case)
    logits, _ = spoken_logits(random_text(int(random.integers(1, 30)), random), random)
    text = random_text(int(random.integers(1, 60)), random)
    text = text.replace("a", " 7 ").replace("o", "\n\n")
    check_order(align(logits, text, times=times, padding_seconds=padding))


def test_filled_times_share_gaps_and_padding_takes_part_of_them() -> None:
    random = np.random.default_rng(5)
    logits, _ = spoken_logits("more and more", random, frames_per_letter=12)
    tight = align(logits, "more and more")
    filled = align(logits, "more and more", times="filled")
    padded = align(logits, "more and more", padding_seconds=0.02)
    assert (tight.times, filled.times) == ("tight", "filled")
    for k in (0, 1):
        middle = (tight.words[k].end + tight.words[k + 1].start) / 2
        assert filled.words[k].end == filled.words[k + 1].start == pytest.approx(middle, abs=1e-3)
        assert padded.words[k].end == pytest.approx(tight.words[k].end + 0.02)
    assert (filled.words[0].start, filled.words[-1].end) == (
        tight.words[0].start,
        tight.words[-1].end,
    )
    for one, other in zip(filled.words[1].characters, filled.words[1].characters[1:], strict=False):
        assert one.end == other.start


def test_spoken_times_end_with_the_last_sound() -> None:
    """Up to 60 ms after its last letter's frames, and at most in the middle of the gap."""
    random = np.random.default_rng(5)
    logits, _ = spoken_logits("more and more and more", random, frames_per_letter=6)
    tight = align(logits, "more and more and more")
    spoken = align(logits, "more and more and more", times="spoken")
    padded = align(logits, "more and more and more", times="spoken", padding_seconds=0.02)
    assert AlignerOptions().times == spoken.times == "spoken"
    following = [*(word.start for word in tight.words[1:]), np.inf]
    for own, word, wide, after in zip(
        tight.words, spoken.words, padded.words, following, strict=True
    ):
        assert word.start == own.start
        most = (after - own.end) / 2
        assert word.end == pytest.approx(own.end + min(0.06, most), abs=1e-3)
        assert wide.end == pytest.approx(own.end + min(0.08, most), abs=1e-3)
        assert word.characters == own.characters


@pytest.mark.parametrize(("blank", "aligned"), [(1.5, True), (20.0, False)])
def test_words_in_a_hurry_are_left_out_unless_the_sound_confirms_them(
    blank: float, aligned: bool
) -> None:
    """A blank is decoded in place of each letter, a little more likely than it or far more."""
    random = np.random.default_rng(12)
    texts = ["the old man", "climbed seven narrow stairs", "before he slept"]
    (before, _), (logits, places), (after, _) = (
        spoken_logits(text, random, frames_per_letter=pace)
        for text, pace in zip(texts, (4, 2, 4), strict=True)
    )
    logits[places, 0] = logits[places].max(axis=1) + blank
    found = align(np.concatenate([before, logits, after]), " ".join(texts))
    words = [word for word in found.words if word.text in texts[1].split()]
    assert len(words) == 4
    assert all(word.aligned == word.trusted == aligned for word in words)
    assert (found.lines[0].error is None) == aligned
    if aligned:
        expected = (places + len(before)) * FRAME
        starts = [character.start for word in words for character in word.characters]
        assert np.abs(np.array(starts) - expected).max() <= 2 * FRAME


def test_words_without_letters_lie_between_their_neighbours() -> None:
    random = np.random.default_rng(6)
    logits, _ = spoken_logits("in nineteen ninety five it rained", random)
    found = align(logits, "In 1995 — it rained. 😀", numbers="star")
    assert [word.text for word in found.words if word.aligned] == ["In", "it", "rained."]
    check_order(found)
    year = next(word for word in found.words if word.text.startswith("1995"))
    whole = align(logits, "in nineteen ninety five it rained")
    assert not year.aligned
    assert not year.characters
    assert abs(year.start - whole.words[1].start) < 0.1
    assert not found.regions
    assert found.trusted_share == 1


def test_line_that_does_not_fit_fails_with_its_figures() -> None:
    random = np.random.default_rng(7)
    first, second = "the first line of all", "and another one at the end"
    logits, _ = spoken_logits(f"{first} {second}", random)
    extra = " ".join(["letters and balloons"] * 12)
    found = align(logits, f"{first}\n{extra}\n{second}")
    assert [line.error is None for line in found.lines] == [True, False, True]
    assert "line 2 needs at least 252 frames (216 letters, 36 repeats)" in found.lines[1].error
    own = [word for word in found.words if word.line != 1]
    assert all(word.trusted for word in own)
    assert len(own) == 11
    assert not any(word.aligned for word in found.words if word.line == 1)
    assert [region.kind for region in found.regions] == ["extra"]
    expected = align(logits, f"{first}\n{second}")
    assert [w.start for w in own] == [w.start for w in expected.words]


def test_text_that_has_nothing_in_common_and_does_not_fit() -> None:
    random = np.random.default_rng(8)
    logits, _ = spoken_logits(random_text(10, random), random)
    text = random_text(2000, random)
    found = align(logits, text)
    assert found.trusted_share < 0.01
    assert sum(line.error is not None for line in found.lines) >= 195
    check_order(found)


def test_one_word_in_a_minute_is_where_it_is_spoken() -> None:
    random = np.random.default_rng(9)
    before, _ = spoken_logits(random_text(40, random), random)
    word, places = spoken_logits("xylophone", random)
    after, _ = spoken_logits(random_text(60, random), random)
    found = align(np.concatenate([before, word, after]), "xylophone")
    assert starts_of(found) == pytest.approx(((places + len(before)) * FRAME).tolist())
    assert found.words[0].trusted
    assert [region.kind for region in found.regions] == ["missing", "missing"]


def test_stars_between_lines_and_paragraphs() -> None:
    random = np.random.default_rng(10)
    parts = [spoken_logits(text, random)[0] for text in ("one line", "eh um", "two lines")]
    for stars in ("none", "edges", "lines", "paragraphs"):
        found = align(np.concatenate(parts), "one line\n\ntwo lines", stars=stars)
        assert found.trusted_share == 1
        assert found.words[2].start == pytest.approx(
            found.seconds - len(parts[2]) * FRAME + 0.06, abs=0.1
        )
