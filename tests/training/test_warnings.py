"""Warnings about a corpus, its picture, and an alarm for each pitfall that cannot be refused."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mms_export.training.corpus.clip import Clip
from mms_export.training.corpus.split import split_by_speaker
from mms_export.training.examine import characters
from mms_export.training.picture import report_svg
from mms_export.training.report import Example, Report
from mms_export.training.texts import TextRules
from mms_export.training.vocabulary import build_vocabulary
from mms_export.training.warnings import Material, warnings_of

RULES = TextRules(language="xyz")


def examples(*texts, speaker=None, seconds=2.0, step=10.0, audio=None):
    return [
        Example(
            Clip(
                audio=Path(audio or f"{n}.wav"),
                text=text,
                where=f"line {n}",
                start=n * step,
                end=n * step + seconds,
                speaker=f"S{n % 5}" if speaker is None else speaker,
            ),
            RULES.apply(text),
            seconds,
        )
        for n, text in enumerate(texts)
    ]


def warnings(made, **fields):
    split = split_by_speaker([one.clip for one in made])
    material = {
        "examples": made,
        "split": split,
        "characters": list(characters(made, ())),
        "clipped": [],
        "remarks": [],
        "rules": RULES,
        **fields,
    }
    return list(warnings_of(Material(**material)))


PLAIN = [
    f"{'mnk'[n % 3]}a{'tsl'[n % 7 % 3]}o {'aeiou'[n % 5] * 2}{'bdg'[n // 5 % 3]}o"
    for n in range(400)
]


def test_a_good_corpus_has_no_warnings():
    made = examples(
        *dict.fromkeys(
            f"{text} {n:b}".replace("0", "a").replace("1", "e") for n, text in enumerate(PLAIN)
        )
    )
    assert warnings(made) == []


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (examples(*PLAIN[:20]), "0.7 minutes are little"),
        (examples(*PLAIN, speaker=""), "not every clip has a speaker: whole recordings"),
        (
            examples(*PLAIN, speaker="", audio="a.wav"),
            "not every clip has a speaker: the last clips",
        ),
        (
            examples(*PLAIN[:105], *PLAIN[1:105]),
            "held-out clips have a text that is trained on too",
        ),
        (examples(*PLAIN, "m\u0430so"), "SMALL LETTER A), once (line 400), looks like a (LATIN"),
        (examples(*PLAIN, "m\u0436"), "letters of several scripts: Cyrl, Latn"),
        (examples(*PLAIN, "waq"), "hardly learnt: q (line 400); w (line 400)"),
        (examples(*(text.replace("aa", "a:a") for text in PLAIN)), ": (COLON), 80 times"),
        (examples(*PLAIN, "mo " * 30), "usual 4.5, as with a wrong text, 1 in all: line 400, 44.5"),
        (examples(*PLAIN, step=1.0, audio="a.wav"), "whose text they lack, 399 in all"),
    ],
)
def test_each_matter_is_named_once(made, message):
    assert len([one for one in warnings(made) if message in one]) == 1


def test_one_who_speaks_most_and_letters_that_are_held_out_alone():
    made = [*examples(*PLAIN, speaker="main"), *examples("pp", "pq", speaker="guest")]
    found = "\n".join(warnings(made))
    assert "of the text is spoken by main" in found
    assert "letters of held-out clips that training never sees: p; q" in found


def test_overdriven_clips_are_named():
    assert any(
        "overdriven clips, 1 in all: x" in one for one in warnings(examples(*PLAIN), clipped=["x"])
    )


def test_the_picture_has_a_bar_for_each_letter_and_is_valid_xml():
    made = examples(*PLAIN)
    split = split_by_speaker([one.clip for one in made])
    report = Report(
        path="my <corpus>\x07",
        format="manifest",
        language="xyz",
        train=tuple(one for one in made if one.clip in split.train),
        held_out=tuple(one for one in made if one.clip in split.held_out),
        split_unit=split.unit,
        vocabulary=build_vocabulary(()),
        characters=tuple(characters(made, ())),
        left_out=(),
        skipped=(),
        warnings=(),
        faults=(),
    )
    root = ET.fromstring(report_svg(report))  # noqa: S314
    titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert all(f"{one.letter}: {one.count}" in titles for one in report.characters)
    assert "S1: 2.667" in titles
