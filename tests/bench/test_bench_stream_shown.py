"""What is made of displays: by hand, so that each figure can be worked out on paper."""

import pytest

from mms_bench.streaming.shown import (
    Display,
    Shown,
    Spoken,
    average_lagging,
    emitted,
    unstable_words,
    utterances,
)
from mms_engine.asr.streaming import Endpoint, Final, Partial
from mms_engine.types import Transcript


def shown(*displays):
    return Shown(tuple(Display(at, tuple(text.split())) for at, text in displays))


def partial(text, at):
    return Partial(text, (), 0, at, 0.0)


def final(text, at):
    return Final(Transcript(text, "eng", (), 1.0, 1.0), 0.0, at, 0.0)


def endpoint(at):
    return Endpoint("pause", at, at, 0.0)


def test_events_become_utterances():
    events = [
        partial("he", 1.0),
        final("hello you", 2.0),
        endpoint(2.0),
        partial("ah", 3.0),
        endpoint(4.0),
        endpoint(6.0),
    ]
    assert utterances(events) == [
        shown((1.0, "he"), (2.0, "hello you")),
        shown((3.0, "ah"), (4.0, "")),
    ]


def test_a_word_counts_from_when_it_stands():
    one = shown(
        (1, "a cat"), (2, "the cat"), (3, "the cut is"), (4, "the cat is"), (5, "the cat is")
    )
    assert emitted(one) == [2, 4, 3]


def test_a_growing_last_word_is_not_unstable():
    assert unstable_words(shown((1, "the c"), (2, "the cat"), (3, "the cat sat"))) == 0


@pytest.mark.parametrize(
    ("displays", "count"),
    [
        (("the cat", "the cut"), 1),
        (("a cat sat", "the cat sat"), 1),
        (("the c is", "the cat is"), 1),
        (("the cat sat", "the"), 2),
        (("ah", ""), 1),
        (("", "ah"), 0),
    ],
)
def test_what_falls_is_unstable(displays, count):
    assert unstable_words(shown(*enumerate(displays))) == count


def test_lagging_of_even_words_is_the_delay():
    spoken = Spoken((10.0, 11.0, 12.0, 13.0), (11.0, 12.0, 13.0, 14.0))
    times = [11.5, 12.5, 13.5, 14.5]
    assert average_lagging(times, spoken, 4) == pytest.approx(1.5)


def test_lagging_stops_at_the_first_word_after_the_end():
    spoken = Spoken((0.0, 1.0, 2.0, 3.0), (1.0, 2.0, 3.0, 4.0))
    assert average_lagging([5.0, 5.0, 5.0, 5.0], spoken, 4) == 5.0


def test_more_words_in_the_reference_make_its_speaker_faster():
    spoken = Spoken((0.0, 2.0), (1.0, 4.0))
    assert average_lagging([2.0, 3.5], spoken, 4) == pytest.approx((2.0 + 2.5) / 2)
