"""The trainer against transformers, and its determinism, on the demo checkpoint."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2ForCTC

from mms_engine.audio import normalize, read_audio
from mms_engine.errors import MmsError
from mms_engine.text.vocabulary import Vocabulary
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.open import demo_checkpoint, open_checkpoint
from mms_export.training.batches import masked_frames
from mms_export.training.corpus.clip import Clip
from mms_export.training.device import FrozenBase, Place
from mms_export.training.features import FeatureCache
from mms_export.training.start import first_values, fresh_tensors
from mms_export.training.trainer import MOST_FAILED, Trainer, TrainingOptions, Utterance
from mms_export.training.vocabulary import build_vocabulary, encode

CLIPS = demo_checkpoint().parent / "clips"
TEXTS = {
    "ita_ss-noservice": "il numero chiamato non è attivo",
    "ita_vm-marked-urgent": "messaggio segnato come urgente",
    "spa_conf-placeintoconf": "ahora entrará en la conferencia",
    "fra_vm-login": "messagerie vocale boîte vocale",
}
"""Files and texts; whether they agree does not matter here."""
HOST = Place(torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return open_checkpoint("demo")


@pytest.fixture(scope="module")
def base(checkpoint: Checkpoint) -> FrozenBase:
    return FrozenBase(checkpoint, HOST)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return build_vocabulary(TEXTS.values())


@pytest.fixture(scope="module")
def utterances(
    base: FrozenBase, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory
) -> list[Utterance]:
    cache = FeatureCache(tmp_path_factory.mktemp("features"), base.network, "demo")
    found = []
    for name, text in TEXTS.items():
        clip = Clip(audio=CLIPS / f"{name}.flac", text=text, where=name)
        cache.add(clip, read_audio(clip.audio).samples)
        features = cache.read(clip)
        tokens = tuple(encode(text, vocabulary))
        found.append(Utterance(lambda clip=clip: cache.read(clip), len(features), text, tokens))
    return found


def start(checkpoint: Checkpoint, vocabulary: Vocabulary) -> dict[str, torch.Tensor]:
    return first_values(checkpoint, "ita", vocabulary.tokens, seed=1)


class TransformersTraining:
    """The same training with transformers: the same tensors, order, masks and optimiser."""

    def __init__(self, tensors: dict[str, torch.Tensor], options: TrainingOptions) -> None:
        self.options = options
        size = len(tensors["lm_head.bias"])
        self.model = Wav2Vec2ForCTC.from_pretrained(
            demo_checkpoint(),
            vocab_size=size,
            ignore_mismatched_sizes=True,
            attention_dropout=0.0,
            hidden_dropout=0.0,
            feat_proj_dropout=0.0,
            activation_dropout=0.0,
            final_dropout=0.0,
            layerdrop=0.0,
            ctc_loss_reduction="mean",
        )
        self.model.train()
        self.model.requires_grad_(False)
        self.trained = {**self.model._get_adapters()}
        assert len(self.trained) == len(tensors)
        for name, parameter in self.trained.items():
            parameter.data.copy_(tensors[name.removeprefix("wav2vec2.")])
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(self.trained.values(), lr=options.rate, weight_decay=0.0)

    def update(self, step: int, clips: Sequence[Utterance], audio: list[np.ndarray]) -> float:
        """Change the tensors once and return the loss before."""
        options = self.options
        longest = max(map(len, audio))
        values = torch.zeros(len(audio), longest)
        present = torch.zeros(len(audio), longest, dtype=torch.long)
        for row, samples in enumerate(audio):
            values[row, : len(samples)] = torch.from_numpy(samples)
            present[row, : len(samples)] = 1
        frames = max(clip.frames for clip in clips)
        masked = torch.zeros(len(clips), frames, dtype=torch.bool)
        generator = np.random.default_rng((options.seed, 1, step))
        for row, clip in enumerate(clips):
            mask = masked_frames(clip.frames, options.mask, generator)
            masked[row, : clip.frames] = torch.from_numpy(mask)
        labels = torch.full((len(clips), max(len(clip.tokens) for clip in clips)), -100)
        for row, clip in enumerate(clips):
            labels[row, : len(clip.tokens)] = torch.tensor(clip.tokens)
        # The keyword passes through to `Wav2Vec2Model`.
        loss = self.model(values, present, labels=labels, mask_time_indices=masked).loss
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained.values(), options.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = options.rate_at(step)
        self.optimizer.step()
        return float(loss.detach())


def test_losses_equal_those_of_transformers(
    checkpoint: Checkpoint, base: FrozenBase, vocabulary: Vocabulary, utterances: list[Utterance]
) -> None:
    options = TrainingOptions(steps=40, warmup=4, mask=0.2, seed=3)
    tensors = start(checkpoint, vocabulary)
    audio = [normalize(read_audio(CLIPS / f"{name}.flac").samples) for name in TEXTS]
    trainer = Trainer(base, HOST, options, vocabulary, tensors)
    peer = TransformersTraining(tensors, options)
    for step in range(20):
        chosen = [step % 4, (step + 1) % 4, (step + 3) % 4]
        clips = [utterances[index] for index in chosen]
        expected = peer.update(step, clips, [audio[index] for index in chosen])
        assert trainer.update(clips) == pytest.approx(expected, rel=1e-4), step


def test_batch_in_parts_has_the_gradient_of_the_whole(
    checkpoint: Checkpoint, base: FrozenBase, vocabulary: Vocabulary, utterances: list[Utterance]
) -> None:
    tensors = start(checkpoint, vocabulary)
    trainers = [Trainer(base, HOST, TrainingOptions(), vocabulary, tensors) for _ in range(2)]
    trainers[1]._most_frames = max(clip.frames for clip in utterances)
    losses = [[trainer.update(utterances) for _ in range(3)] for trainer in trainers]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_fresh_adapters_change_nothing(checkpoint: Checkpoint, base: FrozenBase) -> None:
    fresh = fresh_tensors(checkpoint.config, 9, torch.Generator().manual_seed(0))
    zero = {name: torch.zeros_like(tensor) for name, tensor in fresh.items()}
    value = torch.randn(1, 40, checkpoint.config.hidden_size)
    encoded = [base.network.encode(value, given.__getitem__) for given in (fresh, zero)]
    assert torch.equal(*encoded)


def test_non_finite_gradients_change_nothing_and_end_the_training(
    checkpoint: Checkpoint, base: FrozenBase, vocabulary: Vocabulary, utterances: list[Utterance]
) -> None:
    trainer = Trainer(base, HOST, TrainingOptions(), vocabulary, start(checkpoint, vocabulary))
    broken = replace(
        utterances[0], features=lambda: np.full((utterances[0].frames, 64), np.inf, np.float16)
    )
    before = {name: tensor.clone() for name, tensor in trainer.state.tensors.items()}
    for _ in range(MOST_FAILED - 1):
        trainer.update([broken])
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.state.tensors.items())
    with pytest.raises(MmsError, match="not finite in 10 updates in succession"):
        trainer.update([broken])


def test_bfloat16_gives_nearly_the_same_losses(
    checkpoint: Checkpoint, base: FrozenBase, vocabulary: Vocabulary, utterances: list[Utterance]
) -> None:
    tensors = start(checkpoint, vocabulary)
    place = Place(torch.device("cpu"), "bf16")
    rounded = FrozenBase(checkpoint, place)
    rounded.drop_convolutions()
    exact = Trainer(base, HOST, TrainingOptions(), vocabulary, tensors)
    coarse = Trainer(rounded, place, TrainingOptions(), vocabulary, tensors)
    for _ in range(3):
        assert coarse.update(utterances) == pytest.approx(exact.update(utterances), rel=5e-3)
    assert {tensor.dtype for tensor in coarse.state.tensors.values()} == {torch.float32}


def test_one_clip_is_learnt(
    checkpoint: Checkpoint, base: FrozenBase, vocabulary: Vocabulary, utterances: list[Utterance]
) -> None:
    options = TrainingOptions(steps=80, rate=5e-3, warmup=5, seconds=1.0, evaluate=10, patience=2)
    trainer = Trainer(base, HOST, options, vocabulary, start(checkpoint, vocabulary))
    found = []
    trainer.run(utterances[:1], utterances[:1], lambda loss: None, found.append)
    assert trainer.state.best_evaluation.cer == 0.0
    assert found[-1].step < 80  # no better rate was to come
    assert trainer.evaluate_best(utterances[:1]).cer == 0.0
