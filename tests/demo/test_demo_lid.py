"""The committed demo checkpoint of language identification, and its training."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from examples.demo.batches import ClipStore  # noqa: E402
from examples.demo.lid.batches import KIND_SHARE, NONE, Speakers, TrainingBatches  # noqa: E402
from examples.demo.lid.evaluate import accuracy  # noqa: E402
from examples.demo.lid.sounds import KINDS, Music, music, noise, silence, tones  # noqa: E402
from examples.demo.lid.train import Trainer, loss_of, rate_at  # noqa: E402
from examples.demo.model import ModelConfig  # noqa: E402
from examples.demo.prepare import Clip, write_manifest  # noqa: E402
from examples.demo.text import LANGUAGES  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402
from transformers import AutoFeatureExtractor, Wav2Vec2ForSequenceClassification  # noqa: E402

from exporting import export  # noqa: E402
from mms_engine import Identifier, IdentifierOptions  # noqa: E402
from mms_engine.bundle import open_bundle  # noqa: E402

DEMO = ROOT / "examples/demo"
CHECKPOINT = DEMO / "lid/checkpoint"
CLIPS = sorted((DEMO / "clips").glob("*.flac"))
RATE = 16_000


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> dict[str, Path]:
    """Bundles of both demo models."""
    folder = tmp_path_factory.mktemp("bundles")
    for model in ("demo", "demo-lid"):
        export(model, folder / model)
    return {name: folder / name for name in ("demo", "demo-lid")}


def test_config_is_that_of_mms_lid() -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text())
    assert config["architectures"] == ["Wav2Vec2ForSequenceClassification"]
    assert config["id2label"] == {str(row): label for row, label in enumerate(LANGUAGES)}
    assert (config["adapter_attn_dim"], config["use_weighted_layer_sum"]) == (16, False)
    assert set(config) - {"id2label", "label2id"} == set(
        json.loads((DEMO / "templates/config.json").read_text())
    )


def test_logits_are_those_of_transformers(bundles: dict[str, Path]) -> None:
    model, report = Wav2Vec2ForSequenceClassification.from_pretrained(
        CHECKPOINT, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    extractor = AutoFeatureExtractor.from_pretrained(CHECKPOINT)
    options = IdentifierOptions(min_logit=float("-inf"), threads=1)
    with Identifier.open(bundles["demo-lid"], options=options) as identifier:
        for path in CLIPS[::4]:
            audio, rate = soundfile.read(path, dtype="float32")
            inputs = extractor(audio, sampling_rate=rate, return_tensors="pt")
            with torch.inference_mode():
                expected = model.float().eval()(**inputs).logits[0].numpy()
            found = {s.code: s.logit for s in identifier.identify(path, top=5).scores}
            logits = [found[label] for label in LANGUAGES]
            np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_clips_are_identified(bundles: dict[str, Path]) -> None:
    """Announcers that it knows, with sentences that it mostly does not."""
    options = IdentifierOptions(min_logit=float("-inf"), threads=1)
    with Identifier.open(bundles["demo-lid"], options=options) as identifier:
        found = {path.name: identifier.identify(path).language for path in CLIPS}
    assert found == {path.name: path.name[:3] for path in CLIPS}


def test_frontend_is_that_of_recognition(bundles: dict[str, Path]) -> None:
    """Streams could compute the features once for both models."""
    ours, theirs = (load_file(f / "model.safetensors") for f in (CHECKPOINT, DEMO / "checkpoint"))
    names = [name for name in theirs if ".feature_extractor." in name]
    assert len(names) == 28
    for name in names:
        np.testing.assert_array_equal(ours[name], theirs[name])
    digests = {
        tuple(file.sha256 for file in open_bundle(bundle).graph("frontend", "fp32")[0].files)
        for bundle in bundles.values()
    }
    assert len(digests) == 1


@pytest.mark.parametrize("make", [silence, noise, tones, music], ids=lambda make: make.__name__)
def test_sound_without_speech_is_no_language(bundles: dict[str, Path], make) -> None:
    """The floor alone, without speech detection."""
    options = IdentifierOptions(min_speech_seconds=0.0, threads=1)
    random = np.random.default_rng(7)
    with Identifier.open(bundles["demo-lid"], options=options) as identifier:
        for _ in range(6):
            found = identifier.identify(make(4 * RATE, random), sample_rate=RATE)
            assert (found.answer, found.language) == ("unsure", None)


def clip(lang, voice, kind, split, text):
    return Clip(f"{voice}/{text}", lang, voice, kind, split, 0, 2 * RATE, text)


@pytest.fixture
def store(tmp_path):
    clips = [
        clip(lang, f"{lang} {voice}", kind, split, f"{lang} {voice} {text}")
        for lang in (*LANGUAGES, "deu")
        for voice, kind, split in (("announcer", "real", "train"), ("ann", "multispeaker", "train"))
        for text in ("morning", "evening")
    ]
    clips += [
        clip("eng", "eng bob", "multispeaker", "leftout", "good night"),
        clip("eng", "eng bob", "multispeaker", "train", "good day"),
        clip("eng", "eng ann", "multispeaker", "train", "good night"),
    ]
    clips = [dataclasses.replace(c, offset=i * c.samples) for i, c in enumerate(clips)]
    random = np.random.default_rng(1)
    random.integers(-9999, 9999, len(clips) * 2 * RATE, np.int16).tofile(tmp_path / "any.pcm")
    write_manifest(tmp_path / "any.tsv", clips)
    return ClipStore(tmp_path)


def test_no_left_out_voice_or_text_is_trained_on(store) -> None:
    pools = TrainingBatches._pools(store, "eng", KIND_SHARE)
    used = {index for _, speakers in pools for clips in speakers.clips for index in clips}
    assert {store.clips[index].voice for index in used} == {"eng announcer", "eng ann"}
    assert "good night" not in {store.clips[index].text for index in used}
    assert sum(share for share, _ in pools) == pytest.approx(1)


def test_batch_depends_on_its_number_alone(store, tmp_path) -> None:
    batches = TrainingBatches(store, Music(tmp_path), seconds=12.0)
    first, _, again = batches[3], batches[4], batches[3]
    for field in dataclasses.fields(first):
        torch.testing.assert_close(getattr(first, field.name), getattr(again, field.name))
    assert first.audio.isfinite().all()
    assert (first.samples <= first.audio.shape[1]).all()
    targets = torch.cat([batches[step].target for step in range(12)])
    assert set(targets.tolist()) == {NONE, *range(len(LANGUAGES))}


def test_excerpts_have_the_length_asked_for(store) -> None:
    speakers = Speakers(store, store.trainable("real", "eng"))
    random = np.random.default_rng(0)
    for count in (1_000, 2 * RATE, 5 * RATE):
        assert speakers.draw(count, random).shape == (count,)
    for make in KINDS:
        sound = make(RATE, random)
        assert sound.shape == (RATE,)
        assert np.isfinite(sound).all()


def test_loss_wants_every_logit_low_where_there_is_no_language() -> None:
    target = torch.tensor([0, NONE])
    good = torch.tensor([[9.0, -9, -9, -9, -9], [-9.0] * 5])
    worse = good.clone()
    worse[1, 2] = 9.0
    assert loss_of(good, target)[0] < 0.01 < loss_of(worse, target)[0]
    assert (loss_of(good, target)[1], loss_of(worse, target)[1]) == (1.0, 0.5)


def test_a_stopped_run_goes_on(store, tmp_path, monkeypatch) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batches = TrainingBatches(store, Music(tmp_path), seconds=3.0)
    config = ModelConfig(("mul",), (1,), hidden=32, layers=2, heads=2, conv_channels=8)

    def small():
        from examples.demo.lid.model import Classifier

        torch.manual_seed(0)
        return Classifier(config)

    monkeypatch.setattr("examples.demo.lid.train.pretrained", small)
    whole = Trainer(small())
    for step in range(4):
        whole.train_step(batches[step], rate_at(step))
    part = Trainer(small())
    for step in range(2):
        part.train_step(batches[step], rate_at(step))
    part.save(tmp_path / "state.pt")
    part = Trainer.load(tmp_path / "state.pt")
    for step in range(part.step, 4):
        part.train_step(batches[step], rate_at(step))
    for model in ("model", "average"):
        ours, theirs = (getattr(one, model).state_dict() for one in (part, whole))
        for name, tensor in ours.items():
            assert torch.equal(tensor, theirs[name]), name
    torch.set_num_threads(threads)


def test_accuracy_counts_by_duration_and_language() -> None:
    found = [
        ("eng", "eng", "eng", 3.0, 6.0),
        ("eng", "fra", "unsure", -1.0, 2.0),
        ("fra", "spa", "spa", 1.0, 9.0),
        ("fra", "fra", "unsure", -0.5, 1.0),
    ]
    assert accuracy(found, 2) == {
        "clips": {"eng": 2, "fra": 1},
        "best": 0.3333,
        "best_by_language": {"eng": 0.5, "fra": 0.0},
        "best_mean": 0.25,
        "answered": 0.6667,
        "wrong": 0.3333,
    }
    assert accuracy(found, 99) == {}
