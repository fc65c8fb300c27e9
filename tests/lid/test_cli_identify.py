"""Command `mms identify`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from engine_sounds import RATE, sound
from mms_engine import Identifier
from mms_engine.cli import main
from mms_engine.system import demo_bundle

NO_FLOOR = "--min-logit -1000 --threads 1"


@pytest.fixture
def run(tmp_path: Path, lid_bundle: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run `mms identify` in a folder with recordings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMS_BUNDLE", str(lid_bundle))
    folder = tmp_path / "recordings"
    folder.mkdir()
    soundfile.write(folder / "one.wav", sound(2.0, 1), RATE, "FLOAT")
    soundfile.write(folder / "two.wav", sound(3.0, 2), RATE, "FLOAT")
    soundfile.write(folder / "silent.wav", np.zeros(RATE, np.float32), RATE)
    soundfile.write(folder / "short.wav", sound(1.0)[:300], RATE)
    (folder / "notes.txt").write_text("no audio")

    def invoke(arguments: str, **options: object) -> Result:
        return CliRunner().invoke(main, ["identify", *arguments.split()], **options)  # type: ignore[arg-type]

    return invoke


def test_lines_have_names_and_probabilities(run, identifier: Identifier) -> None:  # type: ignore[no-untyped-def]
    result = run(f"recordings {NO_FLOOR} --top 2")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert list(lines) == [f"recordings/{n}.wav" for n in ("one", "short", "silent", "two")]
    assert lines["recordings/silent.wav"] == "no speech"
    assert lines["recordings/short.wav"] == "too short"
    first, second = identifier.identify("recordings/one.wav", top=2).scores
    assert lines["recordings/one.wav"].startswith(f"{first.code} (")
    assert f") {first.probability:.1%}; {second.code} (" in lines["recordings/one.wav"]
    assert "Skipped 1 file without audio: recordings/notes.txt" in result.stderr


def test_json_is_the_result(run, identifier: Identifier) -> None:  # type: ignore[no-untyped-def]
    result = run(f"recordings/one.wav recordings/silent.wav {NO_FLOOR} --json --top 1")
    assert result.exit_code == 0, result.output
    one, silent = map(json.loads, result.stdout.splitlines())
    expected = identifier.identify("recordings/one.wav", top=1)
    (score,) = expected.scores
    assert one["file"] == "recordings/one.wav"
    assert (one["answer"], one["language"]) == ("language", score.code)
    assert one["scores"][0]["logit"] == score.logit
    assert one["scores"][0]["name"]
    assert [window["end"] for window in one["windows"]] == [expected.windows[0].end]
    assert (silent["answer"], silent["language"], silent["scores"]) == ("no_speech", None, [])


def test_among_takes_codes_and_names(run) -> None:  # type: ignore[no-untyped-def]
    result = run(f"recordings/one.wav {NO_FLOOR} --among en,French,swh --top 9 --json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)["scores"]
    assert {(score["code"], score["name"]) for score in scores} == {
        ("eng", "English"),
        ("fra", "French"),
        ("swh", "Swahili"),
    }
    assert sum(score["probability"] for score in scores) == pytest.approx(1)


def test_answer_below_the_floor_is_unsure(run) -> None:  # type: ignore[no-untyped-def]
    result = run("recordings/one.wav --min-logit 1e6")
    assert result.exit_code == 0
    assert result.stdout.startswith("recordings/one.wav: unsure: ")


def test_recording_on_standard_input(run) -> None:  # type: ignore[no-untyped-def]
    content = Path("recordings/one.wav").read_bytes()
    result = run(f"- {NO_FLOOR}", input=content)
    assert result.exit_code == 0, result.output
    named = run(f"recordings/one.wav {NO_FLOOR}")
    assert result.stdout.partition(": ")[2] == named.stdout.partition(": ")[2]


def test_failures_of_some_recordings_are_reported(run) -> None:  # type: ignore[no-untyped-def]
    result = run(f"recordings/one.wav missing.wav recordings/notes.txt {NO_FLOOR}")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    assert "Error: missing.wav: " in result.stderr
    assert result.stderr.splitlines()[-1] == "Error: 2 of 3 recordings failed"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("", 2, "Missing argument"),
        ("missing.wav", 1, "missing.wav"),
        ("recordings/one.wav --among Klingon", 1, "no language 'Klingon'"),
        ("recordings/one.wav --among spa", 1, "no language 'spa'"),
        ("recordings/one.wav --among ,", 1, "no languages to choose from"),
        ("recordings/one.wav --top 0", 2, "--top"),
        ("recordings/one.wav --window 5", 2, "--window"),
        ("recordings/one.wav --window nan", 2, "--window"),
        ("recordings/one.wav --min-logit nan", 2, "'nan' is not a finite number"),
        ("recordings/one.wav --min-logit inf", 2, "'inf' is not a finite number"),
        ("recordings/one.wav --bundle nowhere", 1, "nowhere holds no manifest.json"),
    ],
)
def test_errors_are_one_line(run, arguments: str, status: int, message: str) -> None:  # type: ignore[no-untyped-def]
    result = run(arguments)
    assert result.exit_code == status, result.output
    assert message in result.stderr.splitlines()[-1]
    assert result.stdout == ""


def test_demo_bundle_is_the_default(  # type: ignore[no-untyped-def]
    run, lid_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run("recordings/one.wav").stdout
    monkeypatch.delenv("MMS_BUNDLE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = run("recordings/one.wav")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "mms-export --model demo-lid" in result.stderr
    shutil.copytree(lid_bundle, demo_bundle("demo-lid"))
    assert demo_bundle("demo-lid").is_relative_to(tmp_path)
    assert run("recordings/one.wav").stdout == expected


def test_bundle_of_recognition_is_refused(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from mms_export.cli import main as mms_export
    from tiny_models import make_tiny

    out = tmp_path / "asr"
    checkpoint = make_tiny(tmp_path / "checkpoint")
    arguments = ["--model", str(checkpoint), "--out", str(out), "--precision", "fp32"]
    mms_export.main([*arguments, "--quiet", "--jobs", "1"], standalone_mode=False)
    result = run(f"recordings/one.wav --bundle {out}")
    assert result.exit_code == 1
    assert "mms-export --model facebook/mms-lid-126" in result.stderr
