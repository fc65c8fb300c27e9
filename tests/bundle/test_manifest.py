"""Bundle manifest: every kind of model round-trips, and other content is refused."""

import json
from dataclasses import replace

import pytest

from mms_engine.bundle.manifest import (
    SCHEMA,
    DataFile,
    File,
    Manifest,
    Model,
    Source,
    Vits,
    Wav2Vec2Classifier,
    Wav2Vec2Ctc,
    decode,
    encode,
)
from mms_engine.errors import BundleCorrupt, BundleError

WAV2VEC2 = {
    "conv_dim": (512,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "hidden_size": 1280,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "intermediate_size": 5120,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "adapter_attn_dim": 16,
    "normalize": True,
}
VITS = Vits(
    hidden_size=192,
    num_hidden_layers=6,
    num_attention_heads=2,
    ffn_dim=768,
    flow_size=192,
    upsample_initial_channel=512,
    upsample_rates=(8, 8, 2, 2),
    upsample_kernel_sizes=(16, 16, 4, 4),
    resblock_kernel_sizes=(3, 7, 11),
    resblock_dilation_sizes=((1, 3, 5),) * 3,
)
MODELS = (
    Wav2Vec2Ctc(**WAV2VEC2, adapter_parameters=2_028_288),
    Wav2Vec2Classifier(**WAV2VEC2, classifier_proj_size=1024, labels=("ara", "cmn", "eng")),
    VITS,
)


def manifest_of(model: Model) -> Manifest:
    file = File(path="adapters/eng.safetensors", sha256="0" * 64, size=1)
    return Manifest(
        schema=SCHEMA,
        model=model,
        source=Source(name="m", format="transformers", fingerprint="f", sha256={}, licence="x"),
        sample_rate=16_000,
        graphs=(),
        data={"eng": DataFile(file=file, vocab_size=38)},
        data_dtype="float16",
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_models_round_trip_by_their_tag(model: Model) -> None:
    content = encode(manifest_of(model))
    assert json.loads(content)["model"]["type"] == type(model).__name__
    assert decode(content, where="manifest.json") == manifest_of(model)
    assert encode(decode(content, where="manifest.json")) == content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model", "type"), "Whisper", r"Invalid value 'Whisper' - at `\$.model.type`"),
        (("model", "hidden_size"), 0, r"`\$.model.hidden_size`"),
        (("data", "eng", "vocab_size"), "many", r"`\$.data\[...\].vocab_size`"),
        (("sample_rate",), -1, r"`\$.sample_rate`"),
    ],
)
def test_wrong_value_is_refused_by_name(path: tuple[str, ...], value: object, message: str) -> None:
    document = json.loads(encode(manifest_of(MODELS[0])))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BundleCorrupt, match=message):
        decode(json.dumps(document).encode(), where="manifest.json")


@pytest.mark.parametrize(("key", "schema"), [("schema_version", 1), ("schema", 4)])
def test_other_schema_is_refused_with_the_remedy(key: str, schema: int) -> None:
    update = "update mms-engine, or " if schema > SCHEMA else ""
    message = (
        rf"has schema {schema}, this release reads schemas 2 and 3: {update}export the bundle again"
    )
    with pytest.raises(BundleError, match=message):
        decode(json.dumps({key: schema}).encode(), where="manifest.json")


def test_schema_2_is_read_as_it_was_written() -> None:
    document = json.loads(encode(manifest_of(VITS))) | {"schema": 2}
    del document["models"]
    for entry in document["data"].values():
        del entry["model"]
    found = decode(json.dumps(document).encode(), where="manifest.json")
    assert found == replace(manifest_of(VITS), schema=2)
    assert not found.models


def test_key_without_sizes_is_refused_by_name() -> None:
    manifest = manifest_of(VITS)
    strangers = {"eng": replace(manifest.data["eng"], model="aaaa")}
    whole = replace(manifest, data=strangers, models={"aaaa": VITS})
    assert decode(encode(whole), where="manifest.json") == whole
    with pytest.raises(BundleCorrupt, match="it has no sizes of the model 'aaaa'"):
        decode(encode(replace(whole, models={})), where="manifest.json")
