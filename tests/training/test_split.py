"""The split into training and held-out clips."""

from pathlib import Path

import pytest

from mms_engine.errors import MmsError
from mms_export.training.corpus.clip import Clip
from mms_export.training.corpus.split import split_by_speaker


def clip(number, speaker="", recording="", side=None, start=0.0):
    return Clip(
        audio=Path(f"{number}.wav"),
        text="some text",
        where=f"line {number}",
        speaker=speaker,
        recording=recording or f"{number}.wav",
        side=side,
        start=start,
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_speaker_is_on_both_sides_and_the_order_does_not_matter(seed):
    clips = [clip(n, f"S{n % 17}") for n in range(340)]
    split = split_by_speaker(clips, seed=seed)
    train, held_out = ({one.speaker for one in part} for part in (split.train, split.held_out))
    assert split.unit == "speaker"
    assert not train & held_out
    assert 0.05 < len(split.held_out) / len(clips) < 0.15
    assert set(split_by_speaker(clips[::-1], seed=seed).held_out) == set(split.held_out)


def test_another_seed_holds_out_others():
    clips = [clip(n, f"S{n % 17}") for n in range(340)]
    assert len({split_by_speaker(clips, seed=seed).held_out for seed in range(5)}) > 1


def test_a_speaker_of_nearly_everything_is_trained_on():
    clips = [*(clip(n, "main") for n in range(90)), clip(90, "guest")]
    assert [one.speaker for one in split_by_speaker(clips).held_out] == ["guest"]


def test_recordings_are_whole_where_speakers_are_unknown():
    clips = [clip(n, recording=f"R{n % 4}") for n in range(40)]
    split = split_by_speaker(clips)
    assert split.unit == "recording"
    assert len({one.recording for one in split.held_out}) == 1


def test_the_end_of_a_single_recording_is_held_out():
    clips = [clip(n, recording="R", start=float(n)) for n in range(40)]
    split = split_by_speaker(clips)
    assert (split.unit, [one.start for one in split.held_out]) == ("clip", [36, 37, 38, 39])


def test_clips_of_one_recording_in_files_of_their_own_are_in_the_order_of_their_lines():
    split = split_by_speaker([clip(n, recording="R") for n in range(40)][::-1])
    assert [one.where for one in split.held_out] == [f"line {n}" for n in (36, 37, 38, 39)]


def test_a_speaker_on_both_sides_of_the_corpus_s_own_split_is_refused():
    clips = [clip(0, "A", side="train"), clip(1, "A", side="held-out"), clip(2, "B", side="train")]
    with pytest.raises(MmsError, match="1 speakers on both sides, such as 'A'"):
        split_by_speaker(clips)


def test_one_clip_cannot_be_divided():
    with pytest.raises(MmsError, match="cannot be divided"):
        split_by_speaker([clip(0)])
