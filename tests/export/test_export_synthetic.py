"""Synthetic checkpoints: names, shapes and sizes of the published ones."""

import json
import struct

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from mms_export.checkpoints.config import parse_config
from mms_export.checkpoints.names import adapter_shapes, base_shapes
from mms_export.checkpoints.open import open_checkpoint
from mms_export.synthetic import command, tensors, wav2vec2

REAL = json.loads((wav2vec2.TEMPLATE / "config.json").read_text())
CONFIG = parse_config(REAL, where="config.json")


@pytest.mark.parametrize(
    ("vocab_size", "published"),
    [(36, 8_824_152), (138, 9_346_840), (154, 9_428_832), (1000, 13_764_000), (3000, 24_012_328)],
)
def test_adapters_have_the_published_size(tmp_path, vocab_size, published):
    wav2vec2.Writer(CONFIG, tmp_path).adapter("asm", vocab_size)
    path = tmp_path / "adapter.asm.safetensors"
    assert path.stat().st_size == published
    assert len(load_file(path)) == 290


def test_base_model_has_the_published_size():
    """model.safetensors of facebook/mms-1b-all has 1096 tensors in 3,859,521,128 bytes."""
    shapes = base_shapes(CONFIG) | adapter_shapes(CONFIG, wav2vec2.ENGLISH_VOCAB)
    shapes["masked_spec_embed"] = (CONFIG.hidden_size,)
    assert len(shapes) == 1096
    assert CONFIG.adapter_parameters == 2_028_288
    header, size = tensors.header(wav2vec2.hub_shapes(shapes))
    assert len(header) + size == 3_859_521_128
    assert struct.unpack("<Q", header[:8]) == (len(header) - 8,)


def test_vocabularies_go_from_36_to_3000():
    sizes = wav2vec2.languages(1162)
    assert len(sizes) == 1162
    assert (min(sizes.values()), max(sizes.values())) == (36, 3000)
    assert len(set(sizes.values())) > 100
    assert all(len(wav2vec2.vocabulary(size)) == size for size in set(sizes.values()))


def test_small_checkpoint_opens_and_is_reproducible(tmp_path):
    given = ["--languages", "2", "--layers", "1", "--jobs", "2"]
    for name in ("one", "two"):
        result = CliRunner().invoke(command.main, ["--out", str(tmp_path / name), *given])
        assert result.exit_code == 0, result.output
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    source = open_checkpoint(str(tmp_path / "one"))
    assert list(source.adapters) == ["eng", "swh"]
    assert source.config.num_hidden_layers == 1


def test_few_tokens_dominate_and_the_blank_varies_little(tmp_path):
    wav2vec2.Writer(CONFIG, tmp_path).adapter("asm", 154)
    tensors = load_file(tmp_path / "adapter.asm.safetensors")
    sizes = tensors["lm_head.weight"].norm(dim=1)
    assert sizes[1] > 2 * sizes[4] > 4 * sizes[0]
    assert tensors["lm_head.bias"][0] > 7 > tensors["lm_head.bias"][1:].abs().max() + 6
