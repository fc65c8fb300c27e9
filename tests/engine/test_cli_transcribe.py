"""`mms transcribe`: inputs, outputs, and errors."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from engine_sounds import RATE, sound
from mms_engine import Recognizer
from mms_engine.asr.scoring import Scored, score
from mms_engine.cli import main
from mms_engine.cli.transcribe.scores import score_table


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """a.wav, deeper/b.flac, and files that are not recordings."""
    folder = tmp_path / "clips"
    (folder / "deeper").mkdir(parents=True)
    soundfile.write(folder / "a.wav", sound(1.0, 1), RATE)
    soundfile.write(folder / "deeper" / "b.flac", sound(1.5, 2), RATE)
    (folder / "notes.txt").write_text("not a recording")
    (folder / ".hidden.wav").write_text("not a recording")
    return folder


@pytest.fixture
def mms(tiny_bundle: Path):
    def run(*arguments: object, stdin: bytes | None = None, bundle: bool = True) -> Result:
        words = ["transcribe", *map(str, arguments)]
        if bundle:
            words += ["--bundle", str(tiny_bundle)]
        return CliRunner().invoke(main, words, input=stdin)

    return run


def expected(tiny: Recognizer, path: Path, language: str = "eng") -> str:
    return tiny.transcribe(path, language).text


def test_single_file_prints_its_text(mms, clips: Path, tiny: Recognizer) -> None:
    result = mms(clips / "a.wav", "--lang", "eng")
    assert result.exit_code == 0
    assert result.stdout == expected(tiny, clips / "a.wav") + "\n"
    assert result.stderr == ""


def test_folder_is_searched_recursively(mms, clips: Path, tiny: Recognizer) -> None:
    result = mms(clips, "--lang", "swh")
    paths = [clips / "a.wav", clips / "deeper" / "b.flac"]
    lines = [f"{path}\t{expected(tiny, path, 'swh')}" for path in paths]
    assert result.stdout.splitlines() == lines


def test_standard_input(mms, clips: Path, tiny: Recognizer) -> None:
    result = mms("-", "--lang", "eng", stdin=(clips / "deeper" / "b.flac").read_bytes())
    assert result.stdout == expected(tiny, clips / "deeper" / "b.flac") + "\n"


def test_json_has_one_line_per_recording(mms, clips: Path) -> None:
    result = mms(clips, "--lang", "eng", "--json")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(document["file"]).name for document in documents] == ["a.wav", "b.flac"]
    assert result.stdout == mms(clips, "--lang", "eng", "--format", "json").stdout


def test_output_folder_has_one_file_per_recording(mms, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = mms(clips, "--lang", "eng", "--format", "srt", "--output", f"{out}/")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.*")) == ["a.srt", "deeper/b.srt"]
    assert "-->" in (out / "a.srt").read_text()


def test_output_file_is_replaced(mms, clips: Path, tmp_path: Path, tiny: Recognizer) -> None:
    out = tmp_path / "new" / "out.txt"
    for _ in range(2):
        assert mms(clips / "a.wav", "--lang", "eng", "-o", out).exit_code == 0
    assert out.read_text() == expected(tiny, clips / "a.wav") + "\n"


def test_recordings_that_share_an_output_file_are_refused(mms, clips: Path, tmp_path: Path) -> None:
    (clips / "a.flac").write_bytes((clips / "deeper" / "b.flac").read_bytes())
    result = mms(clips, "--lang", "eng", "--output", f"{tmp_path}/out/")
    assert result.exit_code == 2
    assert "would both be written to" in result.stderr
    assert not (tmp_path / "out").exists()


def test_invalid_file_among_many_is_reported_and_the_rest_transcribed(
    mms, clips: Path, tmp_path: Path
) -> None:
    bad, missing = clips / "bad.wav", tmp_path / "missing.wav"
    bad.write_text("this is text\n")
    result = mms(clips, missing, "--lang", "eng")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    skipped, *errors = result.stderr.splitlines()
    assert skipped == f"Skipped 1 file without audio: {clips / 'notes.txt'}"
    assert len(errors) == 3
    assert str(bad) in errors[0]
    assert str(missing) in errors[1]
    assert errors[2] == "Error: 2 of 4 recordings failed"


def test_allow_truncated_transcribes_the_decodable_part(mms, clips: Path) -> None:
    whole = (clips / "a.wav").read_bytes()
    (clips / "a.wav").write_bytes(whole[: len(whole) * 2 // 3])
    refused = mms(clips / "a.wav", "--lang", "eng")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--allow-truncated" in refused.stderr
    truncated = mms(clips / "a.wav", "--lang", "eng", "--json", "--allow-truncated")
    assert truncated.exit_code == 0
    assert 0.5 < json.loads(truncated.stdout)["duration"] < 0.7


def test_missing_audio_is_in_the_json_and_one_warning(mms, clips: Path) -> None:
    content = bytearray((clips / "deeper" / "b.flac").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (clips / "a.flac").write_bytes(content)
    refused = mms(clips / "a.flac", "--lang", "eng")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert re.search(r"a\.flac is damaged at 0\.\d\d s: ", refused.stderr)
    result = mms(clips / "a.flac", "--lang", "eng", "--json", "--allow-truncated")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    (span,) = document["missing"]
    assert 0 < span["start"] < span["end"] < document["duration"] == 1.5
    assert result.stderr == f"Warning: {clips / 'a.flac'}: {document['warnings'][0]}\n"
    assert "s of audio are missing" in result.stderr


def test_channel_and_limits_are_options(mms, clips: Path, tiny: Recognizer) -> None:
    left, right = sound(1.0, 1), sound(1.0, 2)
    soundfile.write(clips / "s.wav", np.stack([left, right], axis=1), RATE)
    soundfile.write(clips / "r.wav", right, RATE)
    result = mms(clips / "s.wav", "--lang", "eng", "--channel", 2)
    assert result.stdout == expected(tiny, clips / "r.wav") + "\n"
    for options, message in (
        (("--channel", 3), "has no channel 3: its channels are 1 to 2"),
        (("--track", 2), "has no track 2: its audio tracks are 1 to 1"),
        (("--max-channels", 1), "has 2 channels, the limit is 1"),
        (("--max-seconds", 0.5), "is longer than 0.5 s, the limit"),
    ):
        refused = mms(clips / "s.wav", "--lang", "eng", *options)
        assert refused.exit_code == 1
        assert message in refused.stderr
    assert mms(clips / "s.wav", "--lang", "eng", "--max-seconds", "nan").exit_code == 2
    content = (clips / "s.wav").read_bytes()
    refused = mms("-", "--lang", "eng", "--max-bytes", 1000, stdin=content)
    assert "has more than 1000 bytes, the limit of a stream" in refused.stderr


def test_one_sample_at_any_rate_has_an_empty_transcript(mms, clips: Path) -> None:
    for rate in (16_000, 44_100):
        soundfile.write(clips / f"{rate}.wav", np.full(1, 0.1, np.float32), rate)
        result = mms(clips / f"{rate}.wav", "--lang", "eng")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "\n", "")


def test_list_has_one_language_per_file(mms, clips: Path, tiny: Recognizer) -> None:
    table = clips / "list.tsv"
    table.write_text("lang\tfile\nswh\tdeeper/b.flac\neng\ta.wav\n")
    result = mms("--list", table)
    paths = {"swh": clips / "deeper" / "b.flac", "eng": clips / "a.wav"}
    lines = [f"{path}\t{expected(tiny, path, code)}" for code, path in paths.items()]
    assert result.stdout.splitlines() == lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file\tlang\na.wav\t\n", r"line 2: no lang"),
        ("path\tlang\na.wav\teng\n", r"has no column file"),
        ("", r"has no column file, lang"),
        ("file\tlang\n", r"contains no recordings"),
        ("file\tlang\na.wav\n", r"line 2: no lang"),
    ],
)
def test_invalid_list_is_refused(mms, clips: Path, content: str, message: str) -> None:
    table = clips / "list.tsv"
    table.write_text(content)
    result = mms("--list", table)
    assert result.exit_code == 2
    assert re.search(message, result.stderr)


def test_references_are_scored(mms, clips: Path, tiny: Recognizer) -> None:
    text = expected(tiny, clips / "a.wav")
    table = clips / "references.tsv"
    rows = [f"a.wav\teng\tyes\t{text}", "deeper/b.flac\tswh\tno\tnothing of this was said"]
    table.write_text("file\tlang\theld_out\ttext\n" + "\n".join(rows) + "\n")
    shown = mms("--reference", table)
    assert shown.exit_code == 0
    assert re.search(r"^eng +1 +\d+ +0\.0% +0\.0%$", shown.stdout, re.MULTILINE)
    assert re.search(r"^held out +1 +\d+ +0\.0% +0\.0%$", shown.stdout, re.MULTILINE)
    assert "a.wav (eng, held out of training)" in shown.stdout
    document = json.loads(mms("--reference", table, "--json").stdout)
    assert [rate["language"] for rate in document["languages"]] == ["eng", "swh"]
    assert document["languages"][0]["cer"] == 0
    assert document["total"]["files"] == 2
    assert document["files"][0]["hypothesis"] == text


def test_differences_are_printed_and_in_the_json(mms, clips: Path, tiny: Recognizer) -> None:
    text = expected(tiny, clips / "a.wav")
    first, *rest = text.split()
    table = clips / "references.tsv"
    table.write_text(
        f"file\tlang\ttext\na.wav\teng\tother {' '.join(rest)}\ndeeper/b.flac\teng\t\n"
    )
    shown = mms("--reference", table, "--diff")
    assert shown.exit_code == 0
    marked = " ".join([f"[-other-]{{+{first}+}}", *rest])
    assert f"  differences {marked}\n" in shown.stdout
    assert "1 substitution, 0 deletions, 0 insertions (words)" in shown.stdout
    assert "\x1b" not in shown.stdout
    inserted = len(expected(tiny, clips / "deeper" / "b.flac").split())
    assert f"1 file without a reference: {inserted} inserted words" in shown.stdout
    document = json.loads(mms("--reference", table, "--diff", "--json").stdout)
    differences = document["files"][0]["differences"]
    assert differences["edits"] == {"substitutions": 1, "deletions": 0, "insertions": 0}
    changed = {"kind": "substitute", "reference": "other", "hypothesis": first}
    assert differences["alignment"][0] == changed
    assert document["no_reference"]["wer"] is None
    assert "differences" not in json.loads(mms("--reference", table, "--json").stdout)["files"][0]
    assert "--diff needs --reference" in mms(clips / "a.wav", "--lang", "eng", "--diff").stderr


@pytest.mark.parametrize(
    ("is_terminal", "variables", "is_coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_differences_are_coloured_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, variables: dict[str, str], is_coloured: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

    monkeypatch.setattr(sys, "stdout", Terminal())
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = score_table(score([Scored("a.wav", "eng", "one two", "one to")]), with_differences=True)
    assert ("\x1b[31m[-two-]\x1b[0m\x1b[32m{+to+}\x1b[0m" in shown) == is_coloured
    assert ("[-two-]{+to+}" in shown) != is_coloured


ONE_WAY = "name the recordings by exactly one of FILES, --list and --reference"
REFUSED = {
    "no recordings": ("", 2, ONE_WAY),
    "two inputs": ("DIR/a.wav --list DIR/list.tsv", 2, ONE_WAY),
    "no language": (
        "DIR/a.wav",
        2,
        "--lang is required: the bundle has eng, swh, uzb-script_latin",
    ),
    "unknown language": ("DIR/a.wav --lang sw", 1, "'sw'; did you mean swh?"),
    "empty folder": ("DIR/empty --lang eng", 2, "contains no recordings"),
    "missing file": ("DIR/missing.wav --lang eng", 1, "missing.wav"),
    "too long": ("DIR/deeper/b.flac --lang eng --max-seconds 1.2", 1, "longer than 1.2 s"),
    "no folder": ("DIR --lang eng --format srt", 2, "needs a folder: --output FOLDER/"),
    "unwritable output": ("DIR/a.wav --lang eng --output DIR/a.wav/x.txt", 1, "cannot write"),
    "scores to a file": ("--reference DIR/list.tsv --output DIR/x.txt", 2, "omit --output"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_contradicting_or_unusable_arguments_are_refused(mms, clips: Path, case: str) -> None:
    arguments, code, message = REFUSED[case]
    (clips / "empty").mkdir()
    (clips / "list.tsv").write_text("file\tlang\ttext\na.wav\teng\ttext\n")
    result = mms(*arguments.replace("DIR", str(clips)).split())
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert code == 2 or result.stderr.count("\n") == 1


@pytest.mark.parametrize("code", ["EN", "en-US", "en_GB.UTF-8", "English", "ENG"])
def test_other_names_of_a_language_are_one_line_with_its_code(mms, clips: Path, code: str) -> None:
    result = mms(clips / "a.wav", "--lang", code)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith(f"does not have the language {code!r}; did you mean eng?\n")


def test_missing_bundle_names_the_command_that_creates_it(mms, clips: Path) -> None:
    result = mms(clips / "a.wav", "--lang", "eng", bundle=False)
    assert result.exit_code == 1
    assert "mms-export --model demo" in result.stderr
    assert result.stderr.count("\n") == 1


def test_bundle_may_be_set_by_environment(
    mms, clips: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMS_BUNDLE", str(tiny_bundle))
    assert mms(clips / "a.wav", "--lang", "eng", bundle=False).exit_code == 0


def test_missing_device_is_one_line(mms, clips: Path) -> None:
    from mms_engine.backends.registry import available

    if available()["ort-cuda"].usable:
        pytest.skip("this machine has a CUDA device")
    result = mms(clips / "a.wav", "--lang", "eng", "--device", "cuda")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "ort-cuda" in result.stderr
    assert "get it from https://www.nvidia.com/drivers" in result.stderr
    named = mms(clips / "a.wav", "--lang", "eng", "--backend", "tensorrt")
    assert named.exit_code == 1
    assert "nothing here can run on 'tensorrt'" in named.stderr


def test_debug_shows_the_traceback(clips: Path) -> None:
    arguments = ["--debug", "transcribe", str(clips / "a.wav"), "--bundle", str(clips)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.exc_info is not None
    assert "holds no manifest.json" in str(result.exception)
