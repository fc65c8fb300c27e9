import json

import numpy as np
import pytest
from click.testing import CliRunner

from mms_engine.bundle import AdapterWeights, save_adapter
from mms_engine.bundle.files import describe
from mms_engine.bundle.manifest import (
    MANIFEST,
    SCHEMA,
    DataFile,
    Manifest,
    Source,
    Wav2Vec2Ctc,
    encode,
)
from mms_engine.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command where there is no default bundle."""
    monkeypatch.delenv("MMS_BUNDLE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def invoke(*arguments):
        return CliRunner().invoke(main, ["languages", *map(str, arguments)])

    return invoke


@pytest.fixture
def bundle(tmp_path):
    """A bundle of three languages, one of which is not of MMS. It has no graphs."""
    root = tmp_path / "bundle"
    data = {}
    for code in ("eng", "uzb-script_latin", "mine"):
        path = root / "adapters" / f"{code}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        empty = np.zeros((1, 1), np.float16)
        save_adapter(path, AdapterWeights(code, empty[0], empty, empty[0], ("<pad>",), "f"))
        data[code] = DataFile(file=describe(root, path), vocab_size=1)
    sizes = dict.fromkeys(Wav2Vec2Ctc.__struct_fields__, 1)
    sizes |= dict.fromkeys(("conv_kernel", "conv_stride", "conv_dim"), (1,))
    contents = Manifest(
        schema=SCHEMA,
        model=Wav2Vec2Ctc(**sizes | {"normalize": True, "text": "native"}),
        source=Source(name="tiny", format="", fingerprint="f", sha256={}, licence="none"),
        sample_rate=16_000,
        graphs=(),
        data=data,
        data_dtype="float16",
    )
    (root / MANIFEST).write_bytes(encode(contents))
    return root


def test_all_languages(run):
    result = run()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 1198
    assert "  eng                              English" in lines
    assert result.stderr == "1198 languages\n"


@pytest.mark.parametrize(("task", "count"), [("asr", 1198), ("tts", 1143), ("lid", 4017)])
def test_languages_of_a_task(run, task, count):
    assert len(run("--task", task).stdout.splitlines()) == count


def test_languages_in_the_bundle_are_marked(run, bundle, monkeypatch):
    result = run("uzbek")
    name = "Uzbek (o\u2018zbek)"
    listed = f"  uzb-script_cyrillic  {name}\n  uzb-script_latin     {name}\n"
    assert result.stdout == listed
    assert result.stderr == "2 languages\n"
    marked = listed.replace("  uzb-script_latin ", "* uzb-script_latin ")
    assert run("uzbek", "--bundle", bundle).stdout == marked
    monkeypatch.setenv("MMS_BUNDLE", str(bundle))
    assert run("uzbek").stdout == marked


def test_in_bundle_lists_unknown_languages_too(run, bundle):
    result = run("--in-bundle", "--bundle", bundle)
    assert result.stdout.splitlines() == [
        "* eng               English",
        "* mine",
        "* uzb-script_latin  Uzbek (o\u2018zbek)",
    ]


def test_json_output(run, bundle):
    result = run("uzbek", "--json", "--bundle", bundle)
    rows = json.loads(result.stdout)
    assert rows[1] == {
        "code": "uzb-script_latin",
        "name": "Uzbek",
        "iso": "uzb",
        "script": "latin",
        "dialect": "",
        "native": "o\u2018zbek",
        "iso1": "uz",
        "tag": "uz-Latn",
        "writing": "Latn",
        "country": "Uzbekistan",
        "macrolanguage": "",
        "macro_iso1": "",
        "in_fl102": True,
        "by_character": False,
        "tasks": ["asr"],
        "in_lid126": False,
        "in_bundle": True,
    }
    assert rows[0]["in_bundle"] is False
    assert json.loads(run("uzbek", "--json").stdout)[0]["in_bundle"] is None
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("enlish", "no language matches 'enlish': nearest are eng, "),
        ("enq --in-bundle --bundle BUNDLE", "no language matches 'enq': nearest are eng\n"),
        ("--bundle BUNDLE/none", "BUNDLE/none holds no manifest.json"),
        ("--in-bundle", "no bundle: choose one with --bundle"),
    ],
)
def test_errors(run, bundle, arguments, message):
    result = run(*arguments.replace("BUNDLE", str(bundle)).split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {message.replace('BUNDLE', str(bundle))}")
