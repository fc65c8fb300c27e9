"""The automaton of hotwords against counting."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotwords_oracle import GRID, automaton, total, walk

WEIGHTS = st.floats(-8, 8, allow_nan=False, width=32)


def phrase_lists(vocab, boundary):
    """Short phrases over few tokens: they overlap and nest."""
    tokens = st.lists(st.integers(0, vocab - 1), min_size=1, max_size=5).map(tuple)
    if boundary >= 0:
        tokens = tokens.filter(lambda phrase: set(phrase) != {boundary})
    return st.lists(st.tuples(tokens, WEIGHTS), max_size=8)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), vocab=st.integers(1, 4), has_boundary=st.booleans())
def test_sum_of_bonuses_is_weight_times_occurrences(data, vocab, has_boundary):
    boundary = data.draw(st.integers(0, vocab - 1)) if has_boundary else -1
    phrases = data.draw(phrase_lists(vocab, boundary))
    tokens = data.draw(st.lists(st.integers(0, vocab - 1), max_size=20))
    hotwords = automaton(phrases, vocab, boundary)
    bonuses = walk(hotwords, tokens)
    expected = total(phrases, tokens, boundary)
    assert sum(bonuses) == expected
    assert hotwords.score(np.array(tokens, np.int32)) == expected
    assert max(bonuses[:-1], default=0.0) <= hotwords.max_bonus


@pytest.mark.parametrize("vocab", [2, 5, 33, 63, 64, 65, 200, 3000])
@pytest.mark.parametrize("has_boundary", [False, True])
def test_random_streams_of_any_vocabulary(vocab, has_boundary):
    """Few of the tokens are used, at either end of the ids: pages are shared and are not."""
    generator = np.random.default_rng(vocab)
    used = np.unique([0, 1, vocab // 2, vocab - 2, vocab - 1])
    boundary = int(generator.choice(used)) if has_boundary else -1
    texts = used[used != boundary]
    phrases = [
        ((*generator.choice(used, generator.integers(0, 5)), texts[0]), weight)
        for weight in generator.normal(3, 2, 40)
    ]
    hotwords = automaton(phrases, vocab, boundary)
    for _ in range(20):
        tokens = generator.choice(used, 60)
        assert sum(walk(hotwords, tokens)) == total(phrases, tokens, boundary)


def test_what_is_lent_is_taken_back_on_a_mismatch_and_at_the_end():
    hotwords = automaton([((1, 2, 3, 4), 8.0)], vocab=6)
    assert walk(hotwords, [1, 2, 3, 4]) == [2.0, 2.0, 2.0, 2.0, 0.0]
    assert walk(hotwords, [1, 2, 3, 5]) == [2.0, 2.0, 2.0, -6.0, 0.0]
    assert walk(hotwords, [1, 2, 3]) == [2.0, 2.0, 2.0, -6.0]


def test_a_mismatch_takes_back_no_more_than_the_next_attempt_is_lent():
    hotwords = automaton([((1, 1, 2), 3.0)], vocab=3)
    assert walk(hotwords, [1, 1, 1, 1, 2]) == [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]


def test_whole_words_are_lent_all_before_the_boundary_and_paid_at_the_end():
    hotwords = automaton([((1, 2), 4.0)], vocab=4, boundary=0)
    assert walk(hotwords, [1, 2]) == [2.0, 2.0, 0.0]
    assert walk(hotwords, [1, 2, 0, 3]) == [2.0, 2.0, 0.0, 0.0, 0.0]
    assert walk(hotwords, [1, 2, 3]) == [2.0, 2.0, -4.0, 0.0]
    assert walk(hotwords, [3, 1, 2]) == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "tokens", [[0, 1, 2], [1, 2, 0], [0, 0, 1, 2, 0, 0], [1, 2], [3, 0, 1, 2], [3, 0, 0, 1, 2, 0]]
)
def test_separator_first_last_and_twice(tokens):
    assert sum(walk(automaton([((1, 2), 4.0)], 4, boundary=0), tokens)) == 4.0


def test_separators_within_and_around_a_phrase():
    for phrase in [(1, 0, 2), (0, 1, 0, 2, 0), (0, 0, 1, 0, 0, 0, 2)]:
        hotwords = automaton([(phrase, 6.0)], 4, boundary=0)
        assert walk(hotwords, [1, 0, 0, 2]) == [2.0, 2.0, 0.0, 2.0, 0.0]
        assert sum(walk(hotwords, [1, 2])) == 0.0


def test_two_occurrences_share_the_boundary_between_them():
    hotwords = automaton([((1,), 1.0), ((1, 0, 1), 10.0)], 2, boundary=0)
    assert sum(walk(hotwords, [1, 0, 1, 0, 1])) == 23.0


def test_double_letters():
    hotwords = automaton([((1, 1), 1.0)], 3)
    assert sum(walk(hotwords, [1, 1, 1, 2, 1, 1])) == 3.0
    assert sum(walk(hotwords, [1, 2, 1])) == 0.0


def test_equal_phrases_add_their_weights_before_anything_is_lent():
    hotwords = automaton([((1, 2), 4.0), ((2,), 1.0), ((1, 2), -4.0)], 3)
    assert walk(hotwords, [1, 2]) == [0.0, 1.0, 0.0]


def test_weight_0_changes_nothing():
    hotwords = automaton([((1, 2), 0.0), ((2,), 0.0)], 3)
    assert walk(hotwords, [1, 2, 2, 1]) == [0.0] * 5
    assert hotwords.max_bonus == 0.0


def test_no_phrases_change_nothing():
    for boundary in (-1, 0):
        hotwords = automaton([], 3, boundary)
        assert walk(hotwords, [1, 0, 0, 2]) == [0.0] * 5


def test_negative_weight_is_charged_at_completion_only():
    assert walk(automaton([((1, 2), -4.0)], 3), [1, 2, 1]) == [0.0, -4.0, 0.0, 0.0]


def test_max_bonus_is_reached():
    assert automaton([((1, 2), 4.0)], 3).max_bonus == 2.0
    assert automaton([((1,), 4.0), ((1, 2), 4.0)], 3).max_bonus == 6.0
    assert automaton([((1,), 4.0), ((2, 1), 1.0)], 3).max_bonus == 4.5


def test_weights_are_rounded_to_the_grid():
    assert walk(automaton([((1,), 0.1)], 2), [1])[0] == round(0.1 / GRID) * GRID


@pytest.mark.parametrize("has_boundary", [False, True])
def test_no_drift_over_a_million_tokens(has_boundary):
    generator = np.random.default_rng(1)
    boundary = 0 if has_boundary else -1
    phrases = [(tuple(generator.integers(1, 4, 1 + i % 6)), 0.1 + i / 7) for i in range(30)]
    hotwords = automaton(phrases, 4, boundary)
    block = [*generator.integers(0, 4, 999).tolist(), 0]
    once = total(phrases, block, boundary)
    inside = once if has_boundary else total(phrases, block * 2) - once
    tokens = np.tile(np.array(block, np.int32), 1000)
    assert hotwords.score(tokens) == once + 999 * inside


def test_ten_thousand_phrases_cost_per_step_does_not_grow():
    """Neither with the length of the stream nor with the number of phrases."""
    generator = np.random.default_rng(2)
    phrases = [
        (tuple(generator.integers(1, 32, generator.integers(4, 20))), 3.0) for _ in range(10_000)
    ]
    many, few = automaton(phrases, 32, boundary=0), automaton(phrases[:10], 32, boundary=0)
    # The phrases themselves, so that the walk stays deep in the automaton.
    tokens = np.concatenate([[*phrase, 0] for phrase, _ in phrases[:5000]]).astype(np.int32)
    assert many.score(tokens) >= 5000 * 3.0
    assert many.nbytes < 7e6

    def seconds(hotwords, stream):
        times = []
        for _ in range(7):
            begin = time.thread_time()  # What other processes take is not counted.
            hotwords.score(stream)
            times.append(time.thread_time() - begin)
        return min(times) / len(stream)

    assert seconds(many, np.tile(tokens, 8)) < 4 * seconds(many, tokens) + 1e-8
    assert seconds(many, tokens) < 30 * seconds(few, tokens) + 1e-7


def test_memory_with_a_large_vocabulary_is_bounded():
    generator = np.random.default_rng(3)
    phrases = [(tuple(generator.integers(1, 3000, 12)), 3.0) for _ in range(10_000)]
    hotwords = automaton(phrases, 3000, boundary=0)
    assert hotwords.nbytes < 13e6
    tokens = [token for phrase, _ in phrases[:50] for token in (*phrase, 0)]
    assert sum(walk(hotwords, tokens)) == 150.0


@pytest.mark.parametrize(
    ("phrases", "vocab", "boundary", "message"),
    [
        ([((1,), 1.0), ((), 1.0)], 3, -1, "phrase 1 is empty"),
        ([((0, 0), 1.0)], 3, 0, "phrase 0 is empty"),
        ([((1, 3), 1.0)], 3, -1, "phrase 0 holds token 3, the vocabulary has 3"),
        ([((-1,), 1.0)], 3, -1, "phrase 0 holds token -1, the vocabulary has 3"),
        ([((1,), math.nan)], 3, -1, "phrase 0 has a weight that is not a finite number"),
        ([((1,), 1e300)], 3, -1, "phrase 0 has a weight that is not a finite number"),
        (
            [((1, 1), 600.0), ((1,), 500.0)],
            3,
            -1,
            "the phrases that can end together weigh too much: a bonus could reach 1024 nats",
        ),
        ([((1,), 1.0)], 0, -1, "vocab is 0, it must be at least 1"),
        ([], 3, 3, "boundary is 3, it must be a token below 3, or -1 for none"),
        ([], 3, -2, "boundary is -2, it must be a token below 3, or -1 for none"),
    ],
)
def test_bad_phrases(phrases, vocab, boundary, message):
    with pytest.raises(ValueError) as caught:
        automaton(phrases, vocab, boundary)
    assert str(caught.value) == message


def test_too_many_tokens_are_refused_before_memory_is_taken():
    phrase = tuple([1] * (1 << 20))
    with pytest.raises(ValueError, match=r"^the phrases hold 16777248 tokens and boundaries, "):
        automaton([(phrase, 1.0)] * 16, 3)


def test_bad_states_and_tokens_of_a_walk():
    hotwords = automaton([((1, 2), 1.0)], 3)
    with pytest.raises(ValueError, match=r"^token is 3, the vocabulary has 3$"):
        hotwords.step(0, 3)
    with pytest.raises(ValueError, match=r"^state is 9, there are 3$"):
        hotwords.step(9, 1)
    with pytest.raises(ValueError, match=r"^state is 9, there are 3$"):
        hotwords.finish(9)
    with pytest.raises(ValueError, match=r"^token is -1, the vocabulary has 3$"):
        hotwords.score(np.array([1, -1], np.int32))
