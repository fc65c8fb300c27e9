"""JSON files of a checkpoint with values of other types: one error that names the file."""

import json

import pytest

from mms_engine.errors import MmsError
from mms_export.checkpoints.open import open_checkpoint
from tiny_models import make_tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("checkpoint") / "tiny")


ODD = [
    ("preprocessor_config.json", "sampling_rate", ""),
    ("preprocessor_config.json", "sampling_rate", None),
    ("preprocessor_config.json", "sampling_rate", {}),
    ("preprocessor_config.json", "sampling_rate", 0),
    ("preprocessor_config.json", "sampling_rate", 2**64),
    ("special_tokens_map.json", "pad_token", {"a": 1}),
    ("special_tokens_map.json", "additional_special_tokens", 5),
    ("tokenizer_config.json", "added_tokens_decoder", []),
    ("tokenizer_config.json", "added_tokens_decoder", {"x": "<pad>"}),
    ("tokenizer_config.json", "added_tokens_decoder", {"0": None}),
    ("tokenizer_config.json", "word_delimiter_token", {}),
    ("vocab.json", "eng", [["a"]]),
    ("config.json", "hidden_size", "32"),
]


@pytest.mark.parametrize(("name", "key", "value"), ODD)
def test_value_of_another_type_is_one_error(whole, name, key, value):
    path = whole / name
    content = path.read_text()
    path.write_text(json.dumps(json.loads(content) | {key: value}))
    try:
        with pytest.raises(MmsError, match=r"(_config|_map|vocab|config|eng)"):
            open_checkpoint(str(whole), "eng")
    finally:
        path.write_text(content)
