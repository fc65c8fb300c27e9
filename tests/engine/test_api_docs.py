"""The examples of the pages on the Python API run, and docs/api.md has every public name."""

import re
import shutil
from pathlib import Path

import pytest
import soundfile

import mms_engine
from engine_sounds import RATE, sound

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
CLIP = Path(__file__).resolve().parents[2] / "examples/demo/clips/eng_dir-first.flac"
EXAMPLES = [
    pytest.param(code, id=f"{page}-{number}")
    for page in ("api", "align", "embeddings", "zero-shot")
    for number, code in enumerate(
        re.findall(
            r"^```python\n(.*?)^```",
            (DOCS / f"{page}.md").read_text(encoding="utf-8"),
            re.MULTILINE | re.DOTALL,
        )
    )
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_example_runs(
    code: str,
    demo_bundle: Path,
    lid_bundle: Path,
    pretrained_bundle: Path,
    speech_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    if "romanized=True" in code:
        pytest.importorskip("uroman")
    monkeypatch.chdir(tmp_path)
    Path("bundles").mkdir()
    Path("bundles/demo").symlink_to(demo_bundle)
    Path("bundles/mms-lid-126").symlink_to(lid_bundle)
    Path("bundles/mms-300m").symlink_to(pretrained_bundle)
    Path("bundles/mms-tts").symlink_to(speech_bundle)
    shutil.copy(CLIP, "clip.flac")
    soundfile.write("other.wav", sound(1.0), RATE)
    exec(compile(code, "example", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.strip()


def test_every_public_name_is_documented() -> None:
    missing = [name for name in mms_engine.__all__ if not re.search(rf"\b{name}\b", PAGE)]
    assert missing == []
