"""Checkpoint layouts: equal weights from each, and a clear error for every invalid one."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export_runs import edit_tensors, invoke
from mms_engine.bundle import open_bundle
from mms_engine.errors import LanguageError, MmsError
from mms_export.checkpoints.names import base_shapes
from mms_export.checkpoints.open import open_checkpoint, read_adapter
from mms_export.checkpoints.selection import select_languages
from mms_export.graphs.wav2vec2.adapters import pack_adapter
from tiny_models import LANGUAGES, make_tiny_fairseq, tiny_vocab


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """Modifiable copy of the tiny checkpoint."""
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = open_checkpoint(str(one)), open_checkpoint(str(other))
    assert first.config == second.config
    for name in base_shapes(first.config):
        np.testing.assert_array_equal(first.weights.read(name), second.weights.read(name), name)
    assert list(first.adapters) == list(second.adapters) == sorted(LANGUAGES)
    for code in first.adapters:
        assert first.adapters[code].vocab == second.adapters[code].vocab
        packed = [
            pack_adapter(read_adapter(source.adapters[code], source.config), source.config)
            for source in (first, second)
        ]
        np.testing.assert_array_equal(*packed)


def test_vocabulary_is_in_order_of_ids(checkpoint):
    source = open_checkpoint(str(checkpoint))
    assert source.adapters["swh"].vocab == tuple(tiny_vocab("swh", LANGUAGES["swh"]))


def test_sharded_safetensors(checkpoint, folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"model-00001-of-00002": names[::2], "model-00002-of-00002": names[1::2]}
    for stem, part in halves.items():
        save_file({name: tensors[name] for name in part}, folder / f"{stem}.safetensors")
    index = {n: f"{stem}.safetensors" for stem, part in halves.items() for n in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert_same_weights(checkpoint, folder)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_weights_and_adapters(checkpoint, folder, zipped):
    """Zipped is the format of torch since 1.6."""
    format_of = {"_use_new_zipfile_serialization": zipped}
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin", **format_of)
    (folder / "model.safetensors").unlink()
    for code in LANGUAGES:
        path = folder / f"adapter.{code}.safetensors"
        torch.save(load_file(path), path.with_suffix(".bin"), **format_of)
        path.unlink()
    assert_same_weights(checkpoint, folder)


@pytest.mark.parametrize("old", [True, False])
def test_both_names_of_weight_norm(checkpoint, folder, old):
    new_names = ("parametrizations.weight.original0", "parametrizations.weight.original1")
    old_names = ("weight_g", "weight_v")
    wanted, other = (old_names, new_names) if old else (new_names, old_names)

    def rename(tensors):
        for target, source in zip(wanted, other, strict=True):
            prefix = "wav2vec2.encoder.pos_conv_embed.conv"
            if f"{prefix}.{source}" in tensors:
                tensors[f"{prefix}.{target}"] = tensors.pop(f"{prefix}.{source}")
        assert f"{prefix}.{wanted[0]}" in tensors

    edit_tensors(folder / "model.safetensors", rename)
    assert_same_weights(checkpoint, folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_read_as_float32(checkpoint, folder, dtype):
    def halve(tensors):
        for name in tensors:
            tensors[name] = tensors[name].to(dtype)

    edit_tensors(folder / "model.safetensors", halve)
    name = "feature_projection.projection.weight"
    found = open_checkpoint(str(folder)).weights.read(name)
    wanted = open_checkpoint(str(checkpoint)).weights.read(name)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, torch.from_numpy(wanted).to(dtype).float().numpy())


def test_fairseq_gives_the_same_weights_languages_and_sizes(checkpoint, tmp_path):
    path = make_tiny_fairseq(tmp_path / "mms1b_tiny.pt", checkpoint)
    assert_same_weights(checkpoint, path)
    ours, theirs = open_checkpoint(str(path)), open_checkpoint(str(checkpoint))
    assert ours.format == "fairseq"
    assert ours.config == theirs.config
    assert ours.config.normalize


def test_fairseq_vocabulary_from_a_text_file(checkpoint, tmp_path):
    path = make_tiny_fairseq(tmp_path / "asr.pt", checkpoint)
    document = torch.load(path, weights_only=False)
    vocabs = json.loads((checkpoint / "vocab.json").read_text())
    (tmp_path / "dict" / "asr").mkdir(parents=True)
    for code, content in document["adapter"].items():
        del content["task_state"]
        lines = [f"{token} 1" for token in list(vocabs[code])[4:]]
        (tmp_path / "dict" / "asr" / f"{code}.txt").write_text("\n".join(lines) + "\n")
    torch.save(document, path)
    assert open_checkpoint(str(path)).adapters["eng"].vocab == tuple(vocabs["eng"])


class Evil:
    """Runs a program when unpickled without restrictions."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "asr.pt"])
@pytest.mark.parametrize(
    ("zipped", "message"),
    [
        (True, r"asks for posix\.system to be run: it is not loaded"),
        (False, "cannot be read as a torch checkpoint: Weights only load failed"),
    ],
)
def test_pickle_with_code_is_refused(folder, tmp_path, name, zipped, message):
    (folder / "model.safetensors").unlink()
    document = {"model": Evil(f"touch {tmp_path}/ran")}
    torch.save(document, folder / name, _use_new_zipfile_serialization=zipped)
    model = folder if name.endswith("bin") else folder / name
    with pytest.raises(MmsError, match=message):
        open_checkpoint(str(model))
    assert not (tmp_path / "ran").exists()


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def edit_vocabs(folder: Path, edit) -> None:
    vocabs = json.loads((folder / "vocab.json").read_text())
    edit(vocabs)
    (folder / "vocab.json").write_text(json.dumps(vocabs))


def remove_languages(folder: Path) -> None:
    for path in folder.glob("adapter.*"):
        path.unlink()
    edit_tensors(
        folder / "model.safetensors", lambda t: [t.pop(k) for k in list(t) if of_language(k)]
    )


def of_language(name: str) -> bool:
    return name.startswith("lm_head.") or ".adapter_layer." in name


def name_a_shard_outside(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "stray.safetensors")
    index = {"weight_map": {"x": "../stray.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *(
            (lambda f, name=name: (f / name).unlink(), rf"{name} is missing: .* is not an MMS")
            for name in ("config.json", "vocab.json", "preprocessor_config.json")
        ),
        (lambda f: (f / "vocab.json").write_text("{"), r"vocab\.json cannot be read as JSON"),
        (lambda f: truncate(f / "model.safetensors", -100), "cannot be read as safetensors"),
        (lambda f: (f / "model.safetensors").unlink(), r"neither model\.safetensors nor pytorch"),
        (remove_languages, "there is no language to export"),
        (name_a_shard_outside, "which is not beside it"),
    ],
)
def test_incomplete_or_damaged_folder(folder, spoil, message):
    spoil(folder)
    with pytest.raises(MmsError, match=message):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("document", "size", "message"),
    [
        ({"model": torch.ones(9)}, 200, r"asr\.pt cannot be read as a torch checkpoint"),
        ({"epoch": 3}, None, "has no 'model': it is not a checkpoint of fairseq"),
    ],
)
def test_pickle_that_is_damaged_or_no_checkpoint(tmp_path, document, size, message):
    path = tmp_path / "asr.pt"
    torch.save(document, path)
    truncate(path, size)
    with pytest.raises(MmsError, match=message):
        open_checkpoint(str(path))


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("model", lambda t: t.pop("wav2vec2.encoder.layer_norm.bias"), "norm.bias is missing"),
        (
            "model",
            lambda t: t.update({"wav2vec2.encoder.layer_norm.bias": torch.ones(31)}),
            r"encoder.layer_norm.bias has shape \[31\], expected \[32\]",
        ),
        ("model", lambda t: [t.pop(k) for k in list(t) if ".feed_forward." in k], "and 5 more"),
    ],
)
def test_wrong_tensors(folder, file, edit, message):
    edit_tensors(folder / f"{file}.safetensors", edit)
    with pytest.raises(MmsError, match=rf"{file}\.safetensors does not hold .*{message}"):
        open_checkpoint(str(folder))


def test_unused_base_tensors_are_ignored_with_a_warning(checkpoint, folder):
    edit_tensors(folder / "model.safetensors", lambda t: t.update(extra=torch.ones(2)))
    assert_same_weights(checkpoint, folder)
    (warning,) = open_checkpoint(str(folder)).warnings
    assert warning.endswith("model.safetensors: not part of the network, ignored: extra")


def spoil_adapter(edit):
    return lambda folder: edit_tensors(folder / "adapter.swh.safetensors", edit)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            spoil_adapter(lambda t: t.pop("lm_head.bias")),
            "does not hold .* lm_head.bias is missing",
        ),
        (spoil_adapter(lambda t: t.update(more=torch.ones(2))), "more is unexpected"),
        (
            spoil_adapter(lambda t: t.update({"lm_head.weight": torch.ones(7, 31)})),
            r"lm_head.weight has shape \[7, 31\], expected \[7, 32\]",
        ),
        (
            spoil_adapter(
                lambda t: t.update(
                    {"lm_head.weight": torch.ones(6, 32), "lm_head.bias": torch.ones(6)}
                )
            ),
            "ids up to 6 .* the head has 6 rows: they belong to different models",
        ),
        (lambda f: edit_vocabs(f, lambda v: v.pop("swh")), "has no vocabulary for 'swh'"),
        (lambda f: edit_vocabs(f, lambda v: v["swh"].update(new=99)), "different models"),
        (lambda f: edit_vocabs(f, lambda v: v["swh"].update(new="4")), "are not all integers"),
        (lambda f: edit_vocabs(f, lambda v: v["swh"].pop("<pad>")), "has no blank"),
        (lambda f: truncate(f / "adapter.swh.safetensors", 1000), "cannot be read as safetensors"),
        (lambda f: (f / "adapter.swh.safetensors").write_bytes(b""), "cannot be read as safetens"),
        (lambda f: write_pointer(f / "adapter.swh.safetensors"), "a pointer of Git LFS"),
    ],
)
def test_unusable_adapter_is_skipped_unless_it_is_named(folder, tmp_path, spoil, message):
    spoil(folder)
    source = open_checkpoint(str(folder))
    assert list(source.adapters) == ["eng", "uzb-script_latin"]
    with pytest.raises(LanguageError, match=message):
        select_languages("swh", source.adapters, source="m", unusable=source.unusable)
    out = tmp_path / "b"
    result = invoke(
        "--model", folder, "--out", out, "--precision", "fp32", "--quiet", "--jobs", "1"
    )
    assert result.exit_code == 0, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("Warning: skipped: ")
    assert open_bundle(out).languages == ("eng", "uzb-script_latin")
    assert invoke("--model", folder, "--out", out, "--lang", "eng,swh").exit_code == 1


def test_adapter_with_damaged_values_is_skipped_unless_it_is_named(folder, tmp_path):
    spoil_adapter(lambda t: t["lm_head.weight"][5].fill_(torch.nan))(folder)
    out = tmp_path / "b"
    given = ("--model", folder, "--out", out, "--precision", "fp32", "--quiet", "--jobs", "2")
    result = invoke(*given)
    assert result.exit_code == 0, result.output
    assert (
        "adapter.swh.safetensors is damaged: its head_weight has values not finite" in result.stderr
    )
    assert open_bundle(out).languages == ("eng", "uzb-script_latin")
    for named in ("swh", "eng,swh"):
        result = invoke(*given, "--lang", named)
        assert result.exit_code == 1
        assert "its head_weight has values not finite" in result.stderr
    assert open_bundle(out).problems() == []


def write_pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 9\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"add_adapter": True}, "add_adapter is True, an MMS ASR checkpoint has False"),
        ({"feat_extract_norm": "group"}, "feat_extract_norm is 'group'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"do_stable_layer_norm": False}, "do_stable_layer_norm is False"),
        ({"conv_bias": False}, "conv_bias is False"),
        ({"model_type": "whisper"}, "model_type is 'whisper'"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
        ({"adapter_attn_dim": None}, "adapter_attn_dim is missing, but the weights hold language"),
        (
            {"hidden_size": "32"},
            r"Expected `int`, got `str` - at `\$\.hidden_size`",
        ),
        ({"num_attention_heads": 5}, "hidden_size 32 is not a multiple of num_attention_heads 5"),
        ({"conv_stride": [5, 2]}, "differ in length"),
        ({"conv_kernel": [1] * 7}, "skips samples"),
    ],
)
def test_config_that_is_not_mms(folder, changes, message):
    edit_json(folder / "config.json", **changes)
    with pytest.raises(MmsError, match=message):
        open_checkpoint(str(folder))


def test_languages_by_code_and_glob():
    known = ["eng", "swh", "uzb-script_cyrillic", "uzb-script_latin"]
    assert select_languages("all", known, source="m") == tuple(known)
    assert select_languages("swh, uzb-*", known, source="m") == tuple(known[1:])
    with pytest.raises(LanguageError, match=r"m has no language 'emg'; did you mean eng\?"):
        select_languages("emg", known, source="m")
    with pytest.raises(LanguageError, match="no language selected"):
        select_languages(" , ", known, source="m")
