"""The examples of docs/api.md run, and it mentions every public name."""

import re
import shutil
from pathlib import Path

import pytest
import soundfile

import mms_engine
from engine_sounds import RATE, sound

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
CLIP = Path(__file__).resolve().parents[2] / "examples/demo/clips/eng_dir-first.flac"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(
    number: int,
    demo_bundle: Path,
    lid_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bundles").mkdir()
    Path("bundles/demo").symlink_to(demo_bundle)
    Path("bundles/mms-lid-126").symlink_to(lid_bundle)
    shutil.copy(CLIP, "clip.flac")
    soundfile.write("other.wav", sound(1.0), RATE)
    exec(compile(EXAMPLES[number], f"docs/api.md example {number}", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.strip()


def test_every_public_name_is_documented() -> None:
    missing = [name for name in mms_engine.__all__ if not re.search(rf"\b{name}\b", PAGE)]
    assert missing == []
