"""`mms lm convert`."""

import gzip

import pytest
from click.testing import CliRunner

from lm_models import arpa, estimate, random_text
from mms_engine.cli import main
from mms_kernels.lm import NgramModel

ARPA = arpa(estimate(random_text(["a", "b", "c"], 30, 1), 3)).encode()


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
    result = run(tmp_path / "a.arpa", tmp_path / "none" / "a.lm")
    assert (missing.exit_code, result.exit_code) == (1, 1)
    assert "none" in result.stderr
    assert result.stderr.endswith(": No such file or directory\n")
