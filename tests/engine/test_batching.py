"""Batches hold every row once and stay within their limits."""

from hypothesis import given
from hypothesis import strategies as st

from mms_engine.encoder.batches import BatchLimits, WindowRow, plan_batches
from mms_engine.encoder.windows import Window

CODES = ("eng", "fra", "rus", "spa")


def rows(utterances: list[tuple[int, int, str]]) -> list[WindowRow]:
    return [
        WindowRow(index, language, Window(0, frames, 0, frames))
        for index, (windows, frames, language) in enumerate(utterances)
        for _ in range(windows)
    ]


utterances = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 2500), st.sampled_from(CODES)), max_size=20
)


@given(utterances, st.integers(1, 4000), st.integers(1, 4))
def test_each_row_is_in_one_batch_within_the_limits(
    drawn: list[tuple[int, int, str]], frames: int, languages: int
) -> None:
    given_rows = rows(drawn)
    batches = plan_batches(given_rows, BatchLimits(frames=frames, languages=languages))
    assert sorted(id(row) for batch in batches for row in batch) == sorted(map(id, given_rows))
    for batch in batches:
        padded = max(row.frames for row in batch) * len(batch)
        assert padded <= frames or len(batch) == 1
        assert padded <= 1.15 * sum(row.frames for row in batch)
        assert len({row.language for row in batch}) <= languages


@given(utterances)
def test_windows_of_an_utterance_stay_in_order(drawn: list[tuple[int, int, str]]) -> None:
    given_rows = rows(drawn)
    batches = plan_batches(given_rows, BatchLimits(frames=3000, languages=4))
    for index in range(len(drawn)):
        planned = [row for batch in batches for row in batch if row.utterance == index]
        assert planned == [row for row in given_rows if row.utterance == index]


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = [100, 900, 110, 890, 90, 910]
    batches = plan_batches(
        rows([(1, frames, "eng") for frames in lengths]), BatchLimits(frames=2800, languages=4)
    )
    assert [[row.frames for row in batch] for batch in batches] == [
        [90, 100, 110],
        [890, 900, 910],
    ]


def test_more_languages_than_slots_keeps_a_language_together() -> None:
    mixed = rows([(1, 100, language) for language in CODES * 3])
    batches = plan_batches(mixed, BatchLimits(frames=400, languages=1))
    assert [batch[0].language for batch in batches] == ["eng", "fra", "rus", "spa"]
