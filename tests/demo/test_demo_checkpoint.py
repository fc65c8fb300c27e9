"""The committed demo checkpoint and clips are what examples/demo/README.md says they are."""

import csv
import json
import sys
from pathlib import Path

import pytest
import soundfile
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from examples.demo.text import LANGUAGES, is_held_out, normalise  # noqa: E402

CHECKPOINT = ROOT / "examples/demo/checkpoint"
CLIPS = ROOT / "examples/demo/clips"
MOST_PARAMETERS = 6_000_000


def shapes(file):
    with safe_open(file, "pt") as tensors:
        assert tensors.metadata() == {"format": "pt"}
        names = tensors.keys()
        assert all(tensors.get_slice(name).get_dtype() == "F32" for name in names)
        return {name: tuple(tensors.get_slice(name).get_shape()) for name in names}


def linear(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def adapter_shapes(config, vocab_size):
    """Names and shapes of adapter.{lang}.safetensors of facebook/mms-1b-all at other sizes."""
    width, rank = config["hidden_size"], config["adapter_attn_dim"]
    expected = linear("lm_head", vocab_size, width)
    for layer in range(config["num_hidden_layers"]):
        name = f"wav2vec2.encoder.layers.{layer}.adapter_layer"
        expected |= linear(f"{name}.linear_1", rank, width)
        expected |= linear(f"{name}.linear_2", width, rank)
        expected |= norm(f"{name}.norm", width)
    return expected


def backbone_shapes(config):
    """Names and shapes of model.safetensors of facebook/mms-1b-all, less adapter and head."""
    width, channels, kernel = config["hidden_size"], config["conv_dim"], config["conv_kernel"]
    expected = {"wav2vec2.masked_spec_embed": (width,)}
    for layer, inputs in enumerate([1, *channels[:-1]]):
        name = f"wav2vec2.feature_extractor.conv_layers.{layer}"
        expected[f"{name}.conv.weight"] = (channels[layer], inputs, kernel[layer])
        expected[f"{name}.conv.bias"] = (channels[layer],)
        expected |= norm(f"{name}.layer_norm", channels[layer])
    expected |= norm("wav2vec2.feature_projection.layer_norm", channels[-1])
    expected |= linear("wav2vec2.feature_projection.projection", width, channels[-1])
    name = "wav2vec2.encoder.pos_conv_embed.conv"
    expected |= {f"{name}.bias": (width,), f"{name}.weight_g": (1, 1, 128)}
    expected[f"{name}.weight_v"] = (width, width // 16, 128)
    expected |= norm("wav2vec2.encoder.layer_norm", width)
    for layer in range(config["num_hidden_layers"]):
        name = f"wav2vec2.encoder.layers.{layer}"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            expected |= linear(f"{name}.attention.{projection}", width, width)
        expected |= norm(f"{name}.layer_norm", width) | norm(f"{name}.final_layer_norm", width)
        inner = config["intermediate_size"]
        expected |= linear(f"{name}.feed_forward.intermediate_dense", inner, width)
        expected |= linear(f"{name}.feed_forward.output_dense", width, inner)
    return expected


@pytest.fixture(scope="module")
def config():
    return json.loads((CHECKPOINT / "config.json").read_text())


@pytest.fixture(scope="module")
def vocab():
    return json.loads((CHECKPOINT / "vocab.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clips():
    with (CLIPS / "clips.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_backbone_has_the_tensors_of_mms(config, vocab):
    found = shapes(CHECKPOINT / "model.safetensors")
    assert found == backbone_shapes(config) | adapter_shapes(config, len(vocab["eng"]))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_adapter_has_the_tensors_of_mms(config, vocab, lang):
    found = shapes(CHECKPOINT / f"adapter.{lang}.safetensors")
    assert found == adapter_shapes(config, len(vocab[lang]))


def test_config_is_that_of_mms_but_for_sizes(config):
    template = json.loads((ROOT / "examples/demo/templates/config.json").read_text())
    sizes = {
        "conv_dim",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_hidden_layers",
        "output_hidden_size",
        "vocab_size",
    }
    assert {key for key in template if template[key] != config[key]} <= sizes
    assert set(config) == set(template)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_vocab_begins_with_special_tokens_and_boundary(vocab, lang):
    assert list(vocab[lang].values()) == list(range(len(vocab[lang])))
    assert list(vocab[lang])[:5] == ["<pad>", "<s>", "</s>", "<unk>", "|"]


def test_transformers_loads_every_adapter_and_reads_the_clips(clips):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.Wav2Vec2ForCTC.from_pretrained(CHECKPOINT).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) < MOST_PARAMETERS
    processor = transformers.AutoProcessor.from_pretrained(CHECKPOINT)
    for lang in LANGUAGES:
        processor.tokenizer.set_target_lang(lang)
        model.load_adapter(lang)
        clip = next(clip for clip in clips if clip["lang"] == lang)
        audio, rate = soundfile.read(CLIPS / clip["file"], dtype="float32")
        inputs = processor(audio, sampling_rate=rate, return_tensors="pt")
        with torch.inference_mode():
            best = model(**inputs).logits.argmax(-1)
        text = processor.batch_decode(best)[0]
        assert set(text) & set(clip["text"].replace(" ", "")), text


def test_split_is_by_sentence_and_the_same_everywhere():
    assert is_held_out("please enter your password followed by the pound key")
    assert not is_held_out("please enter your password")
    sentences = [f"sentence number {number}" for number in range(2000)]
    held_out = {sentence for sentence in sentences if is_held_out(sentence)}
    assert held_out == {sentence for sentence in reversed(sentences) if is_held_out(sentence)}
    assert 0.08 < len(held_out) / len(sentences) < 0.12


@pytest.mark.parametrize(
    ("lang", "typed", "normalised"),
    [
        ("eng", "I don't  know - Agent Logged-off.", "i don't know agent logged off"),
        ("eng", "Press 1", None),
        ("eng", "at [@]", None),
        ("fra", "N\u2019appuyez pas : l'agent", "n'appuyez pas l'agent"),
        ("spa", "su contrasena, por favor", "su contraseña por favor"),
        ("rus", "Нажмите решётку", "нажмите решетку"),
        ("rus", "Asterisk", None),
        ("ita", "'cancelletto'", "cancelletto"),
    ],
)
def test_normalise(lang, typed, normalised):
    assert normalise(typed, lang) == normalised


@pytest.mark.parametrize("folder", ["clips", "strangers"])
def test_clips_are_listed_readable_and_honest_about_the_split(folder):
    folder = CLIPS.parent / folder
    with (folder / f"{folder.name}.tsv").open(encoding="utf-8") as file:
        clips = list(csv.DictReader(file, delimiter="\t"))
    assert {clip["file"] for clip in clips} == {file.name for file in folder.glob("*.flac")}
    strangers = folder.name == "strangers"
    for clip in clips:
        found = soundfile.info(folder / clip["file"])
        assert (found.samplerate, found.channels, found.format) == (16_000, 1, "FLAC")
        assert 2 <= found.duration <= 6
        assert clip["text"] == normalise(clip["text"], clip["lang"])
        held_out = strangers or is_held_out(clip["text"])
        assert clip["held_out"] == ("yes" if held_out else "no")
    assert all(sum(clip["lang"] == lang for clip in clips) >= 2 for lang in LANGUAGES)
    assert 2 * sum(clip["held_out"] == "yes" for clip in clips) >= len(clips)
