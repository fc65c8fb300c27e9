"""Corpora in tables and manifests: Common Voice, audiofolder, NeMo, mms segment."""

import json
from pathlib import Path

import pytest

from mms_engine.errors import MmsError
from mms_export.training.corpus.reading import ReadingOptions
from mms_export.training.corpus.registry import read_corpus


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_common_voice_keeps_unbalanced_quotes_and_the_speaker(tmp_path):
    touch(tmp_path / "clips/a.mp3")
    touch(tmp_path / "clips/b.mp3")
    (tmp_path / "validated.tsv").write_text(
        '\ufeffclient_id\tpath\tsentence\tup_votes\nX\ta.mp3\t"Ndio\t2\nY\tb.mp3\tkwa\u00a0nini\t2\n',
        encoding="utf-8",
    )
    corpus = read_corpus(tmp_path)
    assert corpus.format == "table"
    assert [(clip.speaker, clip.text) for clip in corpus.clips] == [
        ("X", '"Ndio'),
        ("Y", "kwa\u00a0nini"),
    ]
    assert corpus.clips[0].audio == tmp_path / "clips/a.mp3"
    assert corpus.clips[1].where == f"{tmp_path / 'validated.tsv'}, line 3"


def test_audiofolder_takes_the_split_from_its_folders(tmp_path):
    for side, name in (("train", "a.wav"), ("test", "b.wav")):
        touch(tmp_path / side / name)
        if side == "train":
            rows = f'file_name,text\n{name},"one, two"\n'
            (tmp_path / side / "metadata.csv").write_text(rows)
        else:
            row = {"file_name": name, "text": "one, two"}
            (tmp_path / side / "metadata.jsonl").write_text(json.dumps(row))
    corpus = read_corpus(tmp_path)
    assert [(clip.audio.name, clip.text, clip.side) for clip in corpus.clips] == [
        ("b.wav", "one, two", "held-out"),
        ("a.wav", "one, two", "train"),
    ]


def test_nemo_offsets_are_spans_of_a_recording(tmp_path):
    touch(tmp_path / "long.wav")
    rows = [{"audio_filepath": "long.wav", "offset": 1.5, "duration": 2.0, "text": "a b"}]
    path = tmp_path / "train_manifest.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for given in (tmp_path, path):
        (clip,) = read_corpus(given).clips
        assert (clip.start, clip.end, clip.side) == (1.5, 3.5, None)


def test_of_several_manifests_none_is_passed_over_silently(tmp_path):
    touch(tmp_path / "dev_manifest.json")
    touch(tmp_path / "train_manifest.json")
    with pytest.raises(MmsError, match=r"dev_manifest.json, train_manifest.json: name the file"):
        read_corpus(tmp_path)


def test_segments_of_one_recording_belong_together_and_other_languages_are_skipped(tmp_path):
    rows = []
    for number, language in enumerate(("swh", "swh", "eng")):
        name = f"story/story-{number}.flac"
        touch(tmp_path / name)
        rows.append(
            {"file_name": name, "audio_filepath": name, "text": "x", "source": "/far/story.wav",
             "start": 3.0, "duration": 1.0, "lang": language}
        )  # fmt: skip
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = read_corpus(tmp_path, options=ReadingOptions(language="swh"))
    assert [(clip.recording, clip.start, clip.end) for clip in corpus.clips] == [
        ("/far/story.wav", 0.0, 1.0)
    ] * 2
    assert [one.reason for one in corpus.skipped] == ["1 row in other languages: eng"]
    with pytest.raises(MmsError, match="rows in eng, swh, and none in xyz"):
        read_corpus(tmp_path, options=ReadingOptions(language="xyz"))


def test_rows_without_recording_are_named(tmp_path):
    touch(tmp_path / "a.wav")
    path = tmp_path / "list.tsv"
    path.write_text("file\ttext\na.wav\tone\nb.wav\ttwo\n\tthree\n")
    corpus = read_corpus(path)
    assert len(corpus.clips) == 1
    assert [one.where for one in corpus.skipped] == [f"{path}, line 3", f"{path}, line 4"]
    assert "b.wav" in corpus.skipped[0].reason


@pytest.mark.parametrize(
    "fields",
    [
        {"offset": 1.0, "duration": -0.5},
        {"offset": 1.0, "duration": 0},
        {"offset": -1.0, "duration": 2},
        {"duration": float("nan")},
        {"duration": 1e999},
        {"duration": "long"},
        {"duration": [1]},
        {"text": "\ud800"},
        {"audio_filepath": "a\0.wav"},
        {"audio_filepath": "\ud800.wav"},
        {"audio_filepath": "."},
    ],
)
def test_rows_with_impossible_fields_are_skipped(tmp_path, fields):
    good = {"audio_filepath": touch(tmp_path / "a.wav").name, "text": "x"}
    path = tmp_path / "manifest.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(good | fields)}\n")
    corpus = read_corpus(path)
    assert (len(corpus.clips), [one.where for one in corpus.skipped]) == (1, [f"{path}, line 2"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"file\ttext\na.wav\t\xe9t\xe9\n", "line 2: not UTF-8"),
        ("a.tsv", b"file\twords\na.wav\tx\n", "no column for the text"),
        ("a.tsv", b"file\ttext\na.wav\tx\ty\n", "line 2: more fields"),
        ("a.jsonl", b'{"text": "x"\n', "line 1: no JSON"),
        ("a.jsonl", b"[1]\n", "line 1: list, not an object"),
        ("a.doc", b"", "no known format"),
        ("a.tsv", b"file\ttext\nb.wav\tx\n", "no usable clip: .*there is no recording"),
    ],
)
def test_malformed_corpora_are_refused_by_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MmsError, match=message):
        read_corpus(tmp_path / name)


def test_a_folder_with_two_formats_is_ambiguous(tmp_path):
    touch(tmp_path / "a.eaf")
    touch(tmp_path / "a.TextGrid")
    with pytest.raises(MmsError, match="eaf, textgrid: choose one with --format"):
        read_corpus(tmp_path)
    with pytest.raises(MmsError, match="holds no corpus"):
        read_corpus(touch(tmp_path / "empty/readme.txt").parent)
