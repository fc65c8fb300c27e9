"""`mms lm convert`."""

import gzip
import os
import stat
import threading

import pytest
from click.testing import CliRunner

from lm_models import arpa, estimate, random_text
from mms_engine.cli import main
from mms_kernels.lm import NgramModel

ARPA = arpa(estimate(random_text(["a", "b", "c"], 30, 1), 3)).encode()
SENTENCE = ["a", "b", "c", "zzz", "a"]


def run(*arguments):
    return CliRunner().invoke(main, ["lm", "convert", *map(str, arguments)])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_convert(tmp_path, pack):
    source, target = tmp_path / "a.arpa", tmp_path / "a.lm"
    source.write_bytes(pack(ARPA))
    result = run(source, target)
    model = NgramModel.open(target)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == (
        f"{target}: order 3, {model.ngrams} n-grams, {model.states} states, {model.nbytes} bytes\n"
    )


def test_damaged_source_is_one_line_and_leaves_no_file(tmp_path):
    source = tmp_path / "a.arpa"
    source.write_bytes(ARPA.replace(b"ngram 2=", b"ngram 2=9"))
    result = run(source, tmp_path / "a.lm")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"{source}: line " in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.arpa"]


def test_missing_source_or_folder_is_one_line(tmp_path):
    missing = run(tmp_path / "a.arpa", tmp_path / "a.lm")
    assert missing.stderr == f"Error: {tmp_path / 'a.arpa'}: No such file or directory\n"
    (tmp_path / "a.arpa").write_bytes(ARPA)
    result = run(tmp_path / "a.arpa", tmp_path / "a.arpa" / "a.lm")
    assert (missing.exit_code, result.exit_code) == (1, 1)
    assert result.stderr.startswith(f"Error: cannot write {tmp_path / 'a.arpa' / 'a.lm'}: Not a ")
    assert [path.name for path in tmp_path.iterdir()] == ["a.arpa"]


def test_target_is_whole_or_as_it_was(tmp_path, monkeypatch):
    source, target = tmp_path / "a.arpa", tmp_path / "a.lm"
    source.write_bytes(ARPA)
    assert run(source, target).exit_code == 0
    model = NgramModel.open(target)
    expected = model.score(SENTENCE)
    source.write_text(arpa(estimate(random_text(["a", "b", "c"], 30, 2), 3)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        result = run(source, target)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: cannot write {target}: No space left; free some space, or choose a folder on "
        "another disk\n"
    )
    assert NgramModel.open(target).score(SENTENCE) == expected
    assert run(source, target).exit_code == 0
    # A process that holds the former file goes on with it.
    assert model.score(SENTENCE) == expected
    assert NgramModel.open(target).score(SENTENCE) != expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.arpa", "a.lm"]


def test_target_is_not_the_source(tmp_path):
    source, link = tmp_path / "a.arpa", tmp_path / "link"
    source.write_bytes(ARPA)
    link.symlink_to(source)
    for target in (source, link):
        result = run(source, target)
        assert result.exit_code == 1
        assert f"cannot write {target}: it is the input {source}" in result.stderr
    assert source.read_bytes() == ARPA


def test_fifo_gets_the_model(tmp_path):
    source, fifo, target = (tmp_path / name for name in ("a.arpa", "fifo", "a.lm"))
    source.write_bytes(ARPA)
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: target.write_bytes(fifo.read_bytes()), daemon=True)
    reader.start()
    result = run(source, fifo)
    reader.join(10)
    assert (result.exit_code, result.stderr) == (0, "")
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert NgramModel.open(target).order == 3
