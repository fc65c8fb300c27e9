"""Damaged and hostile bundles: one clear error each, before any of their content is used."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from engine_sounds import sound
from mms_engine import Recognizer, RecognizerOptions
from mms_engine.bundle import AdapterWeights, load_adapter, open_bundle, save_adapter
from mms_engine.bundle.files import describe
from mms_engine.cli import main
from mms_engine.errors import BackendError, BundleCorrupt, BundleError, BundleFileMissing

FILES = [
    "graphs/frontend.fp32.onnx",
    "graphs/encoder.fp32.onnx",
    "adapters/eng.safetensors",
    "adapters/swh.safetensors",
    "adapters/uzb-script_latin.safetensors",
]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def use(bundle: Path, **options: object) -> None:
    """Load the bundle and use every language of it."""
    with Recognizer.open(bundle, options=RecognizerOptions(**options)) as recognizer:
        recognizer.transcribe([sound(0.5)] * 3, list(recognizer.languages))


def rewrite(bundle: Path, change: Callable[[dict], None]) -> None:
    path = bundle / "manifest.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def test_step_graph_of_an_earlier_release_is_one_line(bundle: Path) -> None:
    def change(manifest: dict) -> None:
        for graph in manifest["graphs"]:
            graph["inputs"] = [t for t in graph["inputs"] if not t["name"].startswith("keys.")]

    rewrite(bundle, change)
    with Recognizer.open(bundle) as recognizer:
        assert recognizer.transcribe(sound(0.5), "eng")
        with pytest.raises(BundleError, match="earlier release: export the bundle again"):
            recognizer.stream("eng")


def replace_adapter(bundle: Path, change: Callable[[AdapterWeights], AdapterWeights]) -> None:
    """Change the weights of eng and make the manifest agree with the new file."""
    path = bundle / "adapters" / "eng.safetensors"
    save_adapter(path, change(load_adapter(path)))
    file = describe(bundle, path)
    rewrite(bundle, lambda m: m["data"]["eng"]["file"].update(sha256=file.sha256, size=file.size))


def all_files(bundle: Path) -> list[Path]:
    return sorted(p for p in bundle.rglob("*") if p.is_file() and p.parent != bundle)


def test_flipped_byte_in_any_file_is_found(bundle: Path) -> None:
    for path in all_files(bundle):
        content = bytearray(path.read_bytes())
        for place in (0, len(content) // 2, len(content) - 1):
            content[place] ^= 0x10
            path.write_bytes(content)
            problems = open_bundle(bundle).problems()
            assert len(problems) == 1
            assert str(path) in problems[0]
            assert "SHA-256" in problems[0]
            content[place] ^= 0x10
        path.write_bytes(content)
    assert open_bundle(bundle).problems() == []


@pytest.mark.parametrize("name", FILES)
def test_damaged_truncated_or_missing_file_is_never_used(bundle: Path, name: str) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleCorrupt, match=rf"{path.name} does not have the SHA-256"):
        use(bundle)
    path.write_bytes(content[:-1])
    with pytest.raises(BundleCorrupt, match=rf"{path.name} has \d+ bytes, the manifest says"):
        use(bundle, verify=False)
    path.unlink()
    with pytest.raises(BundleFileMissing, match=rf"{name} is missing: export the bundle again"):
        use(bundle)
    if path.name == "eng.safetensors":
        with Recognizer.open(bundle) as recognizer:
            assert recognizer.transcribe(sound(1.0), "swh").text, "other languages still work"


@pytest.mark.parametrize(
    "hostile", ["../secret", "/etc/hostname", "graphs/../../secret", "adapters/link"]
)
@pytest.mark.parametrize("verify", [True, False])
def test_path_outside_the_bundle_is_not_opened(bundle: Path, hostile: str, *, verify: bool) -> None:
    (bundle.parent / "secret").write_bytes((bundle / "adapters/eng.safetensors").read_bytes())
    (bundle / "adapters" / "link").symlink_to(bundle.parent / "secret")
    rewrite(bundle, lambda m: m["data"]["eng"]["file"].update(path=hostile))
    with pytest.raises(BundleCorrupt, match="lies outside the bundle"):
        use(bundle, verify=verify)
    rewrite(bundle, lambda m: m["graphs"][0]["files"][0].update(path=hostile))
    with pytest.raises(BundleCorrupt, match="lies outside the bundle"):
        use(bundle, verify=verify)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_manifest_is_refused(bundle: Path, keep: float) -> None:
    path = bundle / "manifest.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    with pytest.raises(BundleCorrupt, match=r"manifest\.json is not a bundle manifest"):
        use(bundle)


def test_bundle_of_another_task_is_refused(bundle: Path) -> None:
    def classify(manifest: dict) -> None:
        del manifest["model"]["adapter_parameters"]
        manifest["model"] |= {
            "type": "Wav2Vec2Classifier",
            "classifier_proj_size": 8,
            "labels": ["eng", "swh"],
        }

    rewrite(bundle, classify)
    with pytest.raises(BundleError, match="holds a Wav2Vec2Classifier model, this task needs"):
        use(bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(graphs="none"),
        lambda m: m.pop("model"),
        lambda m: m.pop("schema"),
        lambda m: m["model"].update(type="Whisper"),
        lambda m: m["model"].update(conv_kernel=[-1]),
        lambda m: m["model"].update(conv_stride=[0] * 7),
        lambda m: m["model"].update(hidden_size=-5),
        lambda m: m["model"].update(hidden_size=33),
        lambda m: m["model"].update(adapter_parameters=10**15),
        lambda m: m["data"]["eng"].update(vocab_size=10**12),
        lambda m: m["data"]["eng"].update(vocab_size="many"),
    ],
)
def test_manifest_of_wrong_types_is_refused(bundle: Path, change: Callable[[dict], None]) -> None:
    rewrite(bundle, change)
    with pytest.raises(BundleError):
        use(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"fingerprint": "0" * 64}, "belongs to another base model than tiny"),
        (lambda w: {"language": "swh"}, r"eng\.safetensors holds 'swh', not 'eng'"),
        (lambda w: {"adapter": w.adapter[:-1]}, "adapter is float16"),
        (lambda w: {"head_weight": w.head_weight[:, :-1]}, "head_weight is float16"),
        (lambda w: {"head_bias": w.head_bias.astype(np.float32)}, "head_bias is float32"),
        (lambda w: {"vocab": w.vocab[:-1]}, "names 8 tokens, its head has 9"),
    ],
)
def test_adapter_that_does_not_fit_is_refused(
    bundle: Path, change: Callable[[AdapterWeights], dict], message: str
) -> None:
    replace_adapter(bundle, lambda w: dataclasses.replace(w, **change(w)))
    with pytest.raises(BundleCorrupt, match=message):
        use(bundle)


def test_adapter_of_nan_gives_an_error_and_no_text(bundle: Path) -> None:
    replace_adapter(bundle, lambda w: dataclasses.replace(w, head_bias=w.head_bias * np.nan))
    with pytest.raises(BackendError, match="logits cannot be decoded"):
        use(bundle)


def test_malformed_adapter_file_is_refused(bundle: Path) -> None:
    path = bundle / "adapters" / "eng.safetensors"
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{      }")
    file = describe(bundle, path)
    rewrite(bundle, lambda m: m["data"]["eng"]["file"].update(sha256=file.sha256, size=file.size))
    with pytest.raises(BundleCorrupt, match=r"eng\.safetensors is not an adapter of format"):
        use(bundle)


def test_commands_report_a_damaged_bundle_in_one_line(bundle: Path, tmp_path: Path) -> None:
    path = bundle / "graphs" / "encoder.fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    clip = tmp_path / "clip.wav"
    clip.touch()
    arguments = ["transcribe", str(clip), "--bundle", str(bundle), "--lang", "eng"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert CliRunner().invoke(main, ["doctor", "--verify", "--bundle", str(bundle)]).exit_code == 1
