"""Error rates on corpora in their layouts, with the demo's model and real speech."""

import csv
import shutil
import tarfile
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

from mms_bench.cli import main
from mms_bench.errors import BenchError
from mms_bench.report import html, markdown
from mms_bench.run.result import load
from mms_bench.suites.accuracy.corpora import Choice, read_clips, read_corpus
from mms_bench.suites.accuracy.hub import FLEURS, fleurs_file
from mms_bench.suites.accuracy.journal import Journal
from mms_bench.suites.accuracy.rates import Reading, error_rate, mean_rate, plain, whisper
from mms_engine.asr.scoring import Scored, score
from mms_engine.types import Audio
from mms_export.checkpoints.open import demo_checkpoint
from mms_export.cli import main as export

CLIPS = demo_checkpoint().with_name("clips")
CODES = {"eng": "en_us", "spa": "es_419"}
CHOICE = Choice(split="test", known=("eng", "spa", "fra"))


def demo_rows():
    with (CLIPS / "clips.tsv").open(encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream, delimiter="\t") if row["lang"] in CODES]


@pytest.fixture(scope="module")
def fleurs(tmp_path_factory):
    """Two languages in FLEURS's layout: English in a folder, Spanish in an archive."""
    root = tmp_path_factory.mktemp("fleurs")
    lines = {code: [] for code in CODES.values()}
    for number, row in enumerate(demo_rows()):
        code = CODES[row["lang"]]
        audio = root / code / "audio" / "test"
        audio.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLIPS / row["file"], audio / row["file"])
        cells = (number, row["file"], row["text"].capitalize(), row["text"], "x | y", 16000, "MALE")
        lines[code].append("\t".join(map(str, cells)))
    for code, found in lines.items():
        # As in the corpus, some lines are there twice.
        (root / code / "test.tsv").write_text("\n".join([*found, found[0]]) + "\n")
    spanish = root / "es_419" / "audio"
    with tarfile.open(spanish / "test.tar.gz", "w:gz") as archive:
        archive.add(spanish / "test", "test")
    shutil.rmtree(spanish / "test")
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "demo"
    words = ("--model", "demo", "--lang", "eng,spa", "--out", str(out), "--quiet")
    done = CliRunner().invoke(export, [*words, "--precision", "fp32"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


def test_fleurs_in_folders_and_archives(fleurs):
    clips = read_corpus(f"fleurs:{fleurs}", CHOICE)
    assert Counter(clip.language for clip in clips) == {"eng": 3, "spa": 2}
    heard = dict(read_clips(clips))
    assert all(isinstance(audio, Audio) for audio in heard.values())
    assert {clip.text for clip in heard} == {row["text"] for row in demo_rows()}


def test_one_language_of_fleurs_and_a_limit(fleurs):
    one = read_corpus(f"fleurs:{fleurs / 'en_us'}", CHOICE)
    limited = [
        read_corpus(f"fleurs:{fleurs / 'en_us'}", Choice(split="test", known=("eng",), limit=n))
        for n in (1, 2)
    ]
    assert [len(found) for found in limited] == [1, 2]
    assert set(limited[0]) < set(limited[1]) < set(one)


def test_archive_without_a_clip_is_an_error(fleurs, tmp_path):
    shutil.copytree(fleurs, tmp_path / "copy")
    table = tmp_path / "copy" / "es_419" / "test.tsv"
    with table.open("a") as stream:
        stream.write("9\tabsent.wav\tA\ta\tx\t1\tMALE\n")
    clips = read_corpus(f"fleurs:{tmp_path / 'copy'}", CHOICE)
    with pytest.raises(BenchError, match=r"test.tar.gz lacks 1 of its clips, such as absent.wav"):
        list(read_clips(clips))


def test_common_voice(tmp_path):
    clips = tmp_path / "es" / "clips"
    clips.mkdir(parents=True)
    rows = [row for row in demo_rows() if row["lang"] == "spa"]
    lines = ["client_id\tpath\tsentence\tup_votes\tlocale"]
    for row in rows:
        shutil.copy(CLIPS / row["file"], clips)
        lines.append(f"anna\t{row['file']}\t{row['text'].upper()}\t2\tes")
    (tmp_path / "es" / "test.tsv").write_text("\n".join(lines) + "\n")
    for folder in (tmp_path, tmp_path / "es"):
        found = read_corpus(f"commonvoice:{folder}", CHOICE)
        assert {(clip.language, clip.group) for clip in found} == {("spa", "anna")}
        assert len(list(read_clips(found))) == 2


def test_table_with_splits_and_speakers(tmp_path):
    lines = ["file\tlang\ttext\tspeaker\tsplit", "a.wav\teng\tone\tme\ttrain"]
    lines += ["b.wav\teng\ttwo\tyou\ttest", "c.wav\txyz\tthree\tyou\ttest"]
    (tmp_path / "list.tsv").write_text("\n".join(lines) + "\n")
    (clip,) = read_corpus(str(tmp_path / "list.tsv"), CHOICE)
    assert (clip.text, clip.group, clip.language) == ("two", "you", "eng")


def test_corpus_without_the_models_languages_is_an_error(fleurs):
    with pytest.raises(BenchError, match=r"no clips in the models' languages"):
        read_corpus(f"fleurs:{fleurs}", Choice(split="test", known=("swh",)))
    with pytest.raises(BenchError, match=r"has no dev\.tsv"):
        read_corpus(f"fleurs:{fleurs}", Choice(split="dev", known=("eng",)))


def test_data_set_of_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = demo_rows()
    made = datasets.Dataset.from_dict(
        {
            "audio": [str(CLIPS / row["file"]) for row in rows],
            "sentence": [row["text"] for row in rows],
            "locale": [CODES[row["lang"]][:2] for row in rows],
        }
    ).cast_column("audio", datasets.Audio(decode=False))
    made.save_to_disk(tmp_path / "set")
    clips = read_corpus(f"datasets:{tmp_path / 'set'}", CHOICE)
    assert Counter(clip.language for clip in clips) == {"eng": 3, "spa": 2}
    assert all(isinstance(audio, Audio) for _, audio in read_clips(clips))


def test_hub_cache_is_read_and_absence_is_one_line(fleurs, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    root = tmp_path / f"datasets--{FLEURS.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("abc")
    shutil.copytree(fleurs, root / "snapshots" / "abc" / "data")
    assert fleurs_file("en_us", "test.tsv").is_file()
    clips = read_corpus("fleurs:es_419", CHOICE)
    assert len(list(read_clips(clips))) == 2
    with pytest.raises(BenchError, match=r"data/sw_ke/test.tsv of google/fleurs is not in the"):
        read_corpus("fleurs:sw_ke", CHOICE)


def readings(*pairs, group=""):
    return [
        Reading(language="eng", group=group or str(number), reference=one, hypothesis=other)
        for number, (one, other) in enumerate(pairs)
    ]


PAIRS = [("the cat sat", "the cat sat"), ("a dog ran far", "a dock ran"), ("yes", "yes yes yes")]


def test_rate_is_that_of_the_command_and_lies_in_its_interval():
    expected = score([Scored("", "eng", *pair) for pair in PAIRS]).total
    for unit, rate in (("word", expected.wer), ("character", expected.cer)):
        found = error_rate(readings(*PAIRS), unit, plain)
        assert found.rate == pytest.approx(rate)
        assert found.low < found.rate < found.high


def test_interval_covers_the_true_rate_as_often_as_it_says():
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        wrong = random.random(100) < 0.3
        found = error_rate(readings(*[("a", "b" if one else "a") for one in wrong]), "word", plain)
        hits += found.low <= 0.3 <= found.high
    assert hits >= 52  # 57 expected; fewer than 52 once in 100 such tests


def test_clips_of_a_speaker_are_drawn_together():
    alone = error_rate(readings(*PAIRS, *PAIRS), "word", plain)
    together = error_rate(readings(*PAIRS, *PAIRS, group="one"), "word", plain)
    assert together.low == together.high == alone.rate


def test_mean_weighs_languages_alike_and_empty_references_have_no_rate():
    good, bad = readings(("one two three four", "one two three four")), readings(("one", "two"))
    assert mean_rate([good, bad], "word", plain).rate == 0.5
    assert error_rate(readings(("...", "noise")), "word", plain) is None


def test_whispers_normalisation():
    assert whisper("Mr. Smith isn't [noise] twenty-one!", "eng") == "mister smith is not 21"
    assert whisper("¿Qué, (risas) tal-vez?", "spa") == "qué tal vez"
    assert whisper("你好", "cmn-script_simplified") == "你 好"


def test_journal_keeps_whole_lines_of_the_same_system(tmp_path):
    journal = Journal(tmp_path, {"system": "a"}, resume=False)
    journal.add({"one": "text", "two": "naïve"})
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text() + '\n{"clip": "three", "te')
    again = Journal(tmp_path, {"system": "a"}, resume=True)
    assert [again.get(key) for key in ("one", "two", "three")] == ["text", "naïve", None]
    again.add({"four": "x"})
    assert Journal(tmp_path, {"system": "a"}, resume=True).get("four") == "x"
    assert len(Journal(tmp_path, {"system": "b"}, resume=True)) == 0
    assert len(Journal(tmp_path, {"system": "a"}, resume=False)) == 0


def test_command_measures_resumes_and_draws(fleurs, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["run", "accuracy", "--data", f"fleurs:{fleurs}", "--models", str(bundle)]
    words += ["--peers", "ours-fp32,transformers", "--json", str(tmp_path / "out.json")]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result = load(tmp_path / "out.json")
    rows = {(row.implementation, row.series): row for row in result.rows}
    assert set(rows) == {
        (peer, name) for peer in ("ours-fp32", "transformers") for name in ("eng", "spa", "mean")
    }
    for language in ("eng", "spa", "mean"):
        ours, theirs = (rows[peer, language].figures for peer in ("ours-fp32", "transformers"))
        assert ours == theirs, "the same checkpoint on the same audio"
        assert ours["cer_low"] <= ours["cer"] <= ours["cer_high"] < 0.3
    assert "| MMS Engine (fp32) | eng | 3 |" in markdown.render(result)
    assert b"<svg" in html.first_picture([result])

    journal = min((tmp_path / "cache").rglob("*.jsonl"))
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(lines[:-1]))
    again = CliRunner().invoke(main, [*words, "--resume"], catch_exceptions=False)
    assert "4 transcripts of an earlier run are kept" in again.stderr
    assert load(tmp_path / "out.json").rows == result.rows
