"""Clips of ELAN and Praat documents, and the way back from a transcript that was corrected."""

from pathlib import Path

import parselmouth
import pympi
import pytest
from praatio import textgrid as praatio

from engine_demo import DEMO
from mms_engine.cli import main as mms
from mms_engine.errors import MmsError
from mms_export.training.corpus.media import Recordings
from mms_export.training.corpus.reading import ReadingOptions
from mms_export.training.corpus.registry import read_corpus
from mms_export.training.corpus.tiers import Annotation, phrases
from mms_export.training.examine import examine
from mms_export.training.texts import TextRules

CLIP = DEMO / "clips" / "eng_auth-incorrect.flac"

EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT>
 <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
  <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/x/AA1-001-v.mp4" MIME_TYPE="video/mp4"/>
  <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/x/AA1%20001-A.wav"
   RELATIVE_MEDIA_URL="../wav/AA1%20001-A.wav" TIME_ORIGIN="500" MIME_TYPE="audio/x-wav"/>
 </HEADER>
 <TIME_ORDER>
  <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2"/>
  <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="3000"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="4000"/>
  <TIME_SLOT TIME_SLOT_ID="ts5"/>
 </TIME_ORDER>
 <TIER TIER_ID="tx@Anna" LINGUISTIC_TYPE_REF="orth" PARTICIPANT="Anna">
  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
   <ANNOTATION_VALUE>mto</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
   <ANNOTATION_VALUE> ndiyo </ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
   <ANNOTATION_VALUE/></ALIGNABLE_ANNOTATION></ANNOTATION>
  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a4" TIME_SLOT_REF1="ts5" TIME_SLOT_REF2="ts5">
   <ANNOTATION_VALUE>lost</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
 </TIER>
 <TIER TIER_ID="words" LINGUISTIC_TYPE_REF="sub" PARENT_REF="tx@Anna">
  <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a1">
   <ANNOTATION_VALUE>yes</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a6" ANNOTATION_REF="a5">
   <ANNOTATION_VALUE>river</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a7" ANNOTATION_REF="a7">
   <ANNOTATION_VALUE>itself</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
 </TIER>
</ANNOTATION_DOCUMENT>
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "eaf" / "story.eaf"
    path.parent.mkdir()
    path.write_text(EAF, encoding="utf-8")
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "AA1 001-A.wav").touch()
    return path


@pytest.mark.parametrize("tier", ["tx@Anna", "orth", "Anna"])
def test_eaf_times_come_from_the_slots_and_the_origin_of_the_media(document, tier):
    corpus = read_corpus(document.parent, options=ReadingOptions(tiers=(tier,)))
    (clip,) = corpus.clips
    # The time between the two words is unknown: they are one clip.
    assert (clip.text, clip.start, clip.end) == ("ndiyo mto", 1.5, 3.5)
    assert clip.speaker == "Anna"
    assert clip.audio.resolve() == document.parents[1] / "wav" / "AA1 001-A.wav"
    assert [one.reason for one in corpus.skipped] == ["'lost' has no time"]


def test_eaf_annotations_that_refer_to_others_have_their_times(document):
    corpus = read_corpus(document, options=ReadingOptions(tiers=("words",)))
    (clip,) = corpus.clips
    assert (clip.text, clip.start, clip.end) == ("yes river", 1.5, 3.5)
    assert [one.reason for one in corpus.skipped] == ["'itself' has no time"]


def test_of_several_tiers_one_must_be_chosen(document):
    with pytest.raises(MmsError, match=r"several tiers with text: tx@Anna \(1\), words \(1\)"):
        read_corpus(document)
    with pytest.raises(MmsError, match="no tier ft with text; its tiers are tx@Anna"):
        read_corpus(document, options=ReadingOptions(tiers=("ft",)))


@pytest.mark.parametrize(
    ("document_name", "audio"),
    [
        ("a/talk.TextGrid", "a/talk.wav"),
        ("a/talk.TextGrid", "a/TALK.MP3"),
        ("a/talk.TextGrid", "media/deep/talk.flac"),
        ("a/AA1-001-eaf.TextGrid", "media/AA1-001-A.wav"),
        ("a/AA1-001.TextGrid", "media/AA1-001-A.wav"),
    ],
)
def test_recordings_are_found_by_name(tmp_path, document_name, audio):
    path = tmp_path / document_name
    for one in (path, tmp_path / audio, tmp_path / "media/AA1-002-A.wav"):
        one.parent.mkdir(parents=True, exist_ok=True)
        one.touch()
    grid([(0.0, 1.0, "a")]).save(str(path), "long_textgrid", includeBlankSpaces=True)
    corpus = read_corpus(path, options=ReadingOptions(recordings=Recordings([tmp_path / "media"])))
    assert corpus.clips[0].audio == tmp_path / audio


def test_a_recording_that_is_missing_or_ambiguous_is_named(tmp_path):
    path = tmp_path / "AA1-001.TextGrid"
    grid([(0.0, 1.0, "a")]).save(str(path), "long_textgrid", includeBlankSpaces=True)
    with pytest.raises(MmsError, match=r"AA1-001.wav; name its folder with --media"):
        read_corpus(path)
    (tmp_path / "AA1-001-A.wav").write_bytes(b"1")
    (tmp_path / "AA1-001-B.wav").write_bytes(b"22")
    with pytest.raises(MmsError, match=r"several recordings may be its own"):
        read_corpus(path)


def grid(intervals, name="tx", end=9.0):
    document = praatio.Textgrid(0, end)
    document.addTier(praatio.IntervalTier(name, intervals, 0, end))
    return document


TEXTS = ['say "yes"', "ŋgɛ̃ item [2]: intervals [3]", "two\nlines = 5", '""', "1.5"]
INTERVALS = [(n + 0.25, n + 1.0, text) for n, text in enumerate(TEXTS)]


@pytest.mark.parametrize("form", ["Save as text file", "Save as short text file"])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16"])
def test_praat_s_own_files_are_read(tmp_path, form, encoding):
    made = parselmouth.praat.call("Create TextGrid", 0, 9, "tx clicks", "clicks")
    for start, end, _ in INTERVALS:
        for boundary in (start, end):
            parselmouth.praat.call(made, "Insert boundary", 1, boundary)
    for n, text in enumerate(TEXTS):
        parselmouth.praat.call(made, "Set interval text", 1, 2 + 2 * n, text)
    parselmouth.praat.call(made, "Insert point", 2, 0.5, "click")
    path = tmp_path / "talk.TextGrid"
    (tmp_path / "talk.wav").touch()
    parselmouth.praat.run(f'Text writing preferences: "{encoding}"')
    parselmouth.praat.call(made, form, str(path))
    clips = read_corpus(path).clips
    assert [(one.start, one.end, one.text) for one in clips] == INTERVALS


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_a_textgrid_that_is_cut_off_is_refused(tmp_path, form):
    path = tmp_path / "talk.TextGrid"
    grid(INTERVALS).save(str(path), form, includeBlankSpaces=True)
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("lines")], encoding="utf-8")
    with pytest.raises(MmsError, match="damaged, or no TextGrid"):
        read_corpus(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.eaf", b"<ANNOTATION_DOCUMENT>", "no ELAN document: no element found"),
        ("a.eaf", b"<html><HEADER/></html>", "no ELAN document, but html"),
        ("a.eaf", EAF.replace("milliseconds", "PAL-frames").encode(), "time in PAL-frames"),
        ("a.eaf", EAF.replace('"1000"', '"1 s"').encode(), "damaged: could not convert"),
        ("a.TextGrid", b'"ooTextFile" "TextGrid" 0 1 1e999', "damaged, or no TextGrid"),
        ("a.TextGrid", b"caf\xe9", "choose UTF-8 under Text writing preferences"),
        ("a.TextGrid", b"hello", "damaged, or no TextGrid: it ends"),
        ("a.TextGrid", b'"ooTextFile" "Pitch"', "begins with 'ooTextFile Pitch'"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MmsError, match=message):
        read_corpus(tmp_path / name)


@pytest.fixture
def transcribed(demo_bundle: Path, tmp_path: Path):
    """Return a function that transcribes the clip to a file beside a copy of it."""

    def transcribe(suffix: str, name: str) -> Path:
        recording, output = tmp_path / CLIP.name, tmp_path / f"{CLIP.stem}{suffix}"
        recording.write_bytes(CLIP.read_bytes())
        arguments = ["transcribe", str(recording), "--lang", "eng", "--format", name]
        arguments += ["--bundle", str(demo_bundle), "--output", str(output)]
        mms.main(arguments, standalone_mode=False)
        return output

    return transcribe


def test_a_transcript_corrected_in_praat_is_read_back(transcribed):
    path = transcribed(".TextGrid", "textgrid")
    made = parselmouth.read(str(path))
    count = parselmouth.praat.call(made, "Get number of intervals", 1)
    labels = [parselmouth.praat.call(made, "Get label of interval", 1, i + 1) for i in range(count)]
    place = next(i for i, label in enumerate(labels, 1) if label)
    parselmouth.praat.call(made, "Set interval text", 1, place, "pass word")
    parselmouth.praat.call(made, "Save as short text file", str(path))
    labels[place - 1] = "pass word"
    start = parselmouth.praat.call(made, "Get start time of interval", 1, place)
    clips = read_corpus(path).clips
    assert " ".join(clip.text for clip in clips) == " ".join(filter(None, labels))
    assert clips[0].start == pytest.approx(max(start - 0.2, 0), abs=0.001)
    assert clips[0].audio.name == CLIP.name


def test_a_transcript_corrected_as_eaf_is_read_back(transcribed):
    path = transcribed(".eaf", "eaf")
    made = pympi.Eaf(path)
    (first, *others) = sorted(made.get_annotation_data_for_tier("words"))
    made.remove_annotation("words", sum(first[:2]) // 2)
    made.add_annotation("words", first[0] + 7, first[1], "pass word")
    made.to_file(path)
    clips = read_corpus(path).clips
    texts = ["pass word", *(one[2] for one in others)]
    assert " ".join(clip.text for clip in clips) == " ".join(texts)
    assert clips[0].start == pytest.approx(max(first[0] + 7 - 200, 0) / 1000, abs=1e-9)
    assert clips[-1].end == pytest.approx(others[-1][1] / 1000 + 0.2, abs=1e-9)
    assert clips[0].audio.name == CLIP.name


def test_words_are_phrases_between_pauses_with_some_of_the_pause():
    words = [(0.1, 0.5, "a"), (0.8, 1.0, "b"), (1.5, 2.0, "c"), (2.3, 2.31, "d"), (5.0, 6.0, "e")]
    found = list(phrases([Annotation(*word) for word in words], " "))
    spans = [(round(one.start, 3), round(one.end, 3), one.text) for one in found]
    assert spans == [(0.0, 1.2, "a b"), (1.3, 2.51, "c d"), (4.8, 6.2, "e")]
    long = [Annotation(n, n + 0.9, "x") for n in range(40)]
    assert [len(one.text) for one in phrases(long, "")] == [15, 15, 10]


def test_other_tiers_keep_their_times_to_the_sample(tmp_path):
    (tmp_path / "talk.wav").touch()
    made = pympi.Eaf()
    made.remove_tier("default")
    made.add_linked_file("talk.wav", relpath="talk.wav", mimetype="audio/x-wav")
    made.add_tier("utterance", part="Anna")
    spans = [(0, 1234), (1234, 2001), (2050, 9999)]
    for start, end in spans:
        made.add_annotation("utterance", start, end, f"{start} ŋa")
    made.to_file(tmp_path / "talk.eaf")
    clips = read_corpus(tmp_path / "talk.eaf").clips
    assert [(round(1000 * c.start), round(1000 * c.end)) for c in clips] == spans
    assert {(c.speaker, c.text.split()[1]) for c in clips} == {("Anna", "ŋa")}


def test_clips_of_mms_segment_are_a_corpus(demo_bundle, tmp_path):
    recording, text = tmp_path / "talk.flac", tmp_path / "talk.txt"
    recording.write_bytes(CLIP.read_bytes())
    text.write_text("password incorrect\nplease enter your password followed by the pound key\n")
    arguments = [
        "segment",
        str(recording),
        str(text),
        "--lang",
        "eng",
        "--out",
        f"{tmp_path}/clips",
    ]
    arguments += ["--bundle", str(demo_bundle), "--min-trusted", "0"]
    mms.main(arguments, standalone_mode=False)
    corpus = read_corpus(tmp_path / "clips", options=ReadingOptions(language="eng"))
    assert [clip.text for clip in corpus.clips] == text.read_text().splitlines()
    assert {clip.recording for clip in corpus.clips} == {str(recording)}
    report = examine(corpus, TextRules(language="eng"))
    assert (len(report.train) + len(report.held_out), report.split_unit) == (2, "clip")
