"""Training of the demo checkpoint: what is kept apart stays apart, and a stopped run goes on."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from examples.demo.batches import ClipStore, TrainingBatches  # noqa: E402
from examples.demo.layout import write_checkpoint  # noqa: E402
from examples.demo.learning_curve import SomeSpeakers, resized  # noqa: E402
from examples.demo.mean import main as write_mean  # noqa: E402
from examples.demo.model import ModelConfig  # noqa: E402
from examples.demo.multispeaker import LEAST_MINUTES, normalise_any, select_clips  # noqa: E402
from examples.demo.prepare import Clip, write_set  # noqa: E402
from examples.demo.trainer import Trainer, divergence, rate_at  # noqa: E402
from examples.demo.vocab import build_vocab  # noqa: E402
from examples.demo.words import word_spans  # noqa: E402


def clip(lang, voice, kind, split, text):
    return Clip(f"{voice}/{text}", lang, voice, kind, split, 0, 16_000, text)


CLIPS = [
    clip("eng", "announcer", "real", "train", "good morning"),
    clip("eng", "announcer", "real", "heldout", "good night"),
    clip("eng", "ann", "multispeaker", "train", "see you soon"),
    clip("eng", "ann", "multispeaker", "train", "good night"),
    clip("eng", "bob", "multispeaker", "leftout", "see you later"),
    clip("deu", "bob", "multispeaker", "train", "guten morgen"),
    clip("deu", "eva", "multispeaker", "train", "gute nacht"),
    clip("deu", "eva", "multispeaker", "train", "see you later"),
]


def make_store(folder, clips):
    """Return a store of one set of noise."""
    rng = np.random.default_rng(1)
    noise = (rng.integers(-9999, 9999, clip.samples, np.int16) for clip in clips)
    write_set(folder / "any", zip(clips, noise, strict=True))
    return ClipStore(folder)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, CLIPS)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_no_left_out_voice_or_text_is_trained_on(store):
    batches = TrainingBatches(store, build_vocab(store.clips))
    used = {int(index) for pool in batches.pools.values() for index in pool.indices}
    assert {CLIPS[index].text for index in used} == {"good morning", "see you soon", "gute nacht"}
    assert {CLIPS[index].voice for index in used} == {"announcer", "ann", "eva"}


def test_digits_are_trained_on_in_other_voices_than_they_are_measured_in(tmp_path):
    clips = [
        clip("eng", "espeak", "words", "train", "seven"),
        clip("eng", "saytime", "words", "leftout", "seven"),
        clip("eng", "saytime", "words", "train", "eight"),
        clip("eng", "ann", "words", "train", "good night"),
        clip("eng", "announcer", "real", "heldout", "good night"),
    ]
    store = make_store(tmp_path, clips)
    assert [store.clips[index] for index in store.trainable("words", "eng")] == clips[:1]


def test_words_cut_from_a_clip_are_all_of_it_in_order(store, one_thread):
    vocab = build_vocab(store.clips)
    trainer = Trainer(tiny_config(vocab), vocab)
    index = next(i for i, one in enumerate(store.clips) if one.text == "see you soon")
    spans = word_spans(trainer.model.eval(), store, index, vocab)
    assert len(spans) == 3
    assert spans[0][0] == 0
    assert spans[-1][1] == store.clips[index].samples
    assert all(start < end for start, end, _ in spans)
    assert all(before[1] == after[0] for before, after in pairwise(spans))


def metadata_row(lang, speaker, text, split, seconds=6.0):
    row = {"file": f"{speaker}.opus", "lang": lang, "speaker": speaker, "text": text}
    return {**row, "split": split, "seconds": str(seconds)}


def test_metadata_keeps_test_speakers_apart_and_drops_what_is_not_learnable():
    count = int(LEAST_MINUTES * 60 / 6) + 1
    rows = [metadata_row("deu", f"d{n}", "guten tag", "train") for n in range(count)]
    rows += [metadata_row("deu", "rare", "guten tağ", "train")]
    rows += [metadata_row("deu", "fast", "guten tag " * 20, "train")]
    rows += [metadata_row("deu", "stranger", "gute nacht", "test")]
    rows += [metadata_row("swe", f"s{n}", "god dag", "train") for n in range(count // 2)]
    clips, others = select_clips(rows)
    assert {clip.voice for clip in clips if clip.split == "train"} == {
        f"d{n}" for n in range(count)
    }
    assert [clip.voice for clip in clips if clip.split == "leftout"] == ["stranger"]
    assert {clip.lang for clip in others} == {"swe"}  # for language identification only
    assert len(others) == count // 2


def test_normalise_keeps_marks_of_languages_without_an_alphabet():
    assert normalise_any("नमस्ते-दुनिया", "hin") == "नमस्ते दुनिया"
    assert normalise_any("Ещё - раз", "rus") == "еще раз"
    assert normalise_any("—", "hin") is None


def tiny_config(vocab):
    sizes = {"hidden": 32, "layers": 3, "heads": 2, "conv_channels": 8, "adapter_rank": 4}
    return ModelConfig(tuple(vocab), tuple(map(len, vocab.values())), **sizes, layer_drop=0.3)


def test_kept_convolutions_are_those_of_the_checkpoint(store, tmp_path, one_thread):
    vocab = build_vocab(store.clips)
    config = tiny_config(vocab)
    published = Trainer(config, vocab).model.state_dict()
    write_checkpoint(tmp_path / "checkpoint", published, config, vocab)
    batches = TrainingBatches(store, vocab, seconds=4)
    trainer = Trainer(config, vocab)
    trainer.train_step(batches[0], 0.01)
    trainer.keep_convolutions(tmp_path / "checkpoint")
    trainer.train_step(batches[1], 0.01)
    trainer.save(tmp_path / "state.pt")
    trainer = Trainer.load(tmp_path / "state.pt")
    trainer.train_step(batches[2], 0.01)
    for state in (trainer.model.state_dict(), trainer.average.state_dict()):
        kept = {name for name, weight in state.items() if torch.equal(weight, published[name])}
        assert {name for name in state if name.startswith("feature_extractor.")} <= kept
        assert "projection.weight" not in kept


def test_mean_of_states_leaves_alone_what_they_share(store, tmp_path, one_thread):
    vocab = build_vocab(store.clips)
    states = []
    for number in range(3):
        trainer = Trainer(tiny_config(vocab), vocab)
        with torch.no_grad():
            trainer.average.head_bias += 0.3 * number
        states.append(tmp_path / f"{number}.pt")
        trainer.save(states[-1])
    whole = Trainer.load(states[0]).average.state_dict()
    write_mean([*map(str, states), "--out", str(tmp_path / "mean.pt")], standalone_mode=False)
    for name, weight in Trainer.load(tmp_path / "mean.pt").average.state_dict().items():
        if name == "head_bias":
            torch.testing.assert_close(weight, whole[name] + 0.3)
        else:
            assert torch.equal(weight, whole[name]), name


def test_resumed_training_equals_uninterrupted_training(store, tmp_path, one_thread):
    vocab = build_vocab(store.clips)
    config = tiny_config(vocab)
    batches = TrainingBatches(store, vocab, seconds=4)

    def train(trainer, steps):
        for _ in range(steps):
            trainer.train_step(batches[trainer.step], rate_at(trainer))
        return trainer

    whole = train(Trainer(config, vocab), 4)
    half = train(Trainer(config, vocab), 2)
    half.save(tmp_path / "state.pt")
    train(half, 1).save(tmp_path / "state.pt")
    assert Trainer.load(tmp_path / "state.previous.pt").step == 2
    resumed = train(Trainer.load(tmp_path / "state.pt"), 1)
    assert resumed.step == whole.step
    for name, weight in whole.average.state_dict().items():
        assert torch.equal(weight, resumed.average.state_dict()[name]), name


def test_views_of_a_clip_differ_in_sound_alone(store):
    batch = TrainingBatches(store, build_vocab(store.clips), seconds=8)[7]
    count = len(batch.samples) // 2
    assert count >= 2
    for rows in (batch.samples, batch.language, batch.target_lengths):
        assert torch.equal(rows[:count], rows[count:])
    targets = batch.targets.chunk(2)
    assert torch.equal(*targets)
    assert not torch.equal(*batch.audio.chunk(2))
    assert not torch.equal(*batch.spans.chunk(2))


def test_divergence_is_of_the_valid_frames_of_both_views(store):
    batch = TrainingBatches(store, build_vocab(store.clips), seconds=8)[7]
    count = len(batch.samples) // 2
    frames = batch.spans.shape[1]
    logits = torch.randn(2 * count, frames, 5, generator=torch.Generator().manual_seed(3))
    logits[..., 4] = -1e4  # beyond the vocabulary of the language
    emission = logits.log_softmax(-1)
    found = divergence(emission, batch)
    assert found.shape == (count,)
    for row in range(count):
        valid = (int(batch.samples[row]) - 400) // 320 + 1
        one, other = (emission[at, :valid, :4].double() for at in (row, row + count))
        both = ((one.exp() - other.exp()) * (one - other)).sum()
        expected = both / 2 / batch.target_lengths[row]
        torch.testing.assert_close(found[row].double(), expected, rtol=1e-5, atol=0)
    assert not divergence(torch.cat([emission[:count]] * 2), batch).any()


def test_a_share_of_the_speakers_holds_every_smaller_one(tmp_path):
    clips = [clip("eng", f"speaker {n}", "multispeaker", "train", f"text {n}") for n in range(40)]
    clips += [clip("eng", "announcer", "real", "train", "good morning")]
    make_store(tmp_path, clips)
    heard = [
        set(SomeSpeakers(share, tmp_path).trainable("multispeaker", "eng"))
        for share in (0, 0.25, 0.5, 1)
    ]
    assert not heard[0]
    assert len(heard[3]) == 40
    assert heard[0] < heard[1] < heard[2] < heard[3]
    assert SomeSpeakers(0, tmp_path).trainable("real", "eng") == [40]


def test_more_layers_and_languages_leave_the_function_as_it_was(one_thread):
    vocab = {"eng": {"a": 0, "b": 1}, "rus": {"c": 0, "d": 1, "e": 2}}
    sizes = {"hidden": 32, "heads": 2, "layers": 4, "conv_channels": 8, "adapter_rank": 4}
    start = Trainer(ModelConfig(tuple(vocab), (2, 3), **sizes), vocab)
    more = dict(sorted({**vocab, "fra": {"f": 0, "g": 1, "h": 2, "i": 3}}.items()))
    audio, samples = torch.randn(2, 40 * 320), torch.tensor([12_000, 9_000])

    def emissions(trainer):
        rows = torch.tensor([tuple(trainer.vocab).index(lang) for lang in vocab])
        with torch.inference_mode():
            final, halfway, _ = trainer.average.eval()(audio, samples, rows)
        return [one[row, :, :size] for one in (final, halfway) for row, size in ((0, 2), (1, 3))]

    for grown in (resized(start, 4, vocab), resized(start, 8, vocab), resized(start, 4, more)):
        for ours, theirs in zip(emissions(grown), emissions(start), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    kept = resized(start, 2, vocab).model.layers[1].qkv_proj.weight
    assert torch.equal(kept, start.model.layers[2].qkv_proj.weight)
