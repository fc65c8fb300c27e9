"""Training of one language's adapters and head on a frozen base model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mms_engine.asr.scoring import ErrorRate, Scored, score
from mms_engine.bundle.files import atomic_open
from mms_engine.errors import MmsError
from mms_engine.text.vocabulary import BLANK, Vocabulary
from mms_export.training.batches import masked_frames, parts, updates
from mms_export.training.device import FrozenBase, Place
from mms_export.training.features import Features

FRAME_RATE = 50
MOST_FAILED = 10
"""Updates in succession whose gradient is not finite, after which training ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Course of a training."""

    steps: int = 1000
    """Updates of the weights, at most."""
    rate: float = 1e-3
    """Largest learning rate, after the warm-up; it falls to zero on a straight line."""
    warmup: int = 100
    """Updates of the warm-up, at most a tenth of all."""
    seconds: float = 60.0
    """Speech of an update."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    mask: float = 0.05
    """Share of SpecAugment's masks, as `batches.masked_frames`."""
    evaluate: int = 50
    """Updates between evaluations."""
    patience: int = 6
    """Evaluations in succession without a better error rate, after which training ends."""
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Return the learning rate of an update, counted from 0."""
        warmup = max(1, min(self.warmup, self.steps // 10))
        return self.rate * min((step + 1) / warmup, (self.steps - step) / (self.steps - warmup + 1))


@dataclass(frozen=True, slots=True)
class Utterance:
    """A clip as the network takes it."""

    features: Callable[[], Features]
    """Reads the features `[T, C]`."""
    frames: int
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Result of a part of the training."""

    step: int
    loss: float
    """Mean since the evaluation before, per token."""
    cer: float
    wer: float
    is_blank: bool
    """Whether no clip has any text."""


@dataclass(slots=True)
class State:
    """State with which a training goes on as if it had never stopped."""

    tensors: dict[str, Tensor]
    """Trained tensors, under the names of `names.adapter_shapes`."""
    step: int = 0
    losses: list[float] = field(default_factory=list)
    """Losses since the last evaluation."""
    failed: int = 0
    """Updates in succession that were left out."""
    history: list[Evaluation] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    """Tensors of the best evaluation."""

    @property
    def best_evaluation(self) -> Evaluation | None:
        """The evaluation with the lowest error rate, the first of equals."""
        return min(self.history, key=lambda found: found.cer, default=None)


class Trainer:
    """Updates of one language's tensors, one after the other."""

    def __init__(
        self,
        base: FrozenBase,
        place: Place,
        options: TrainingOptions,
        vocabulary: Vocabulary,
        start: dict[str, Tensor],
    ) -> None:
        """Prepare a training.

        Args:
            base: Base model.
            place: Device and number format.
            options: Course of the training.
            vocabulary: Tokens of the language.
            start: First values of its tensors; copied.
        """
        self._base, self._place, self._options = base, place, options
        self._vocabulary = vocabulary
        tensors = {
            name: tensor.detach().clone().to(place.device).requires_grad_()
            for name, tensor in start.items()
        }
        self.state = State(tensors)
        self._optimizer = torch.optim.AdamW(tensors.values(), lr=options.rate, weight_decay=0.0)
        self._most_frames = place.most_frames(base.network.config)

    def run(
        self,
        train: Sequence[Utterance],
        held_out: Sequence[Utterance],
        on_step: Callable[[float], object],
        on_evaluation: Callable[[Evaluation], object],
    ) -> None:
        """Train until the end, or until the error rate no longer falls.

        Args:
            train: Clips to train on.
            held_out: Clips to measure with.
            on_step: Called with the loss after each update.
            on_evaluation: Called after each evaluation.

        Raises:
            MmsError: the gradient is not finite in many updates in succession.
        """
        options, state = self._options, self.state
        frames = [clip.frames for clip in train]
        most = round(options.seconds * FRAME_RATE)
        for chosen in islice(updates(frames, most, options.seed), state.step, None):
            if state.step >= options.steps or self._is_settled():
                return
            on_step(self.update([train[index] for index in chosen]))
            if state.step % options.evaluate == 0 or state.step == options.steps:
                self._record(self.evaluate(held_out))
                on_evaluation(state.history[-1])

    def update(self, clips: Sequence[Utterance]) -> float:
        """Change the tensors once, and return the loss per token before.

        Raises:
            MmsError: the gradient is not finite, as in several updates before.
        """
        options, state = self._options, self.state
        self._optimizer.zero_grad()
        generator = np.random.default_rng((options.seed, 1, state.step))
        masks = [masked_frames(clip.frames, options.mask, generator) for clip in clips]
        total = 0.0
        for rows in parts(range(len(clips)), [clip.frames for clip in clips], self._most_frames):
            batch = [clips[row] for row in rows]
            loss = self._loss(batch, [masks[row] for row in rows]).sum() / len(clips)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        for group in self._optimizer.param_groups:
            group["lr"] = options.rate_at(state.step)
        norm = torch.nn.utils.clip_grad_norm_(state.tensors.values(), options.clip_norm)
        state.step += 1
        if not torch.isfinite(norm) or not np.isfinite(total):
            self._fail()
            return total
        state.failed = 0
        state.losses.append(total)
        self._optimizer.step()
        return total

    def _fail(self) -> None:
        self.state.failed += 1
        if self.state.failed >= MOST_FAILED:
            raise MmsError(
                f"the gradient was not finite in {MOST_FAILED} updates in succession, until update "
                f"{self.state.step}: give a lower --rate, and --replace"
            )

    def _loss(self, clips: Sequence[Utterance], masks: Sequence[np.ndarray[Any, Any]]) -> Tensor:
        """Return the CTC loss per token of each clip, float32 `[B]`."""
        logits, lengths = self._logits(clips, masks)
        targets = [token for clip in clips for token in clip.tokens]
        sizes = torch.tensor([len(clip.tokens) for clip in clips])
        with torch.backends.cudnn.flags(enabled=False):
            losses = functional.ctc_loss(
                logits.float().log_softmax(-1).transpose(0, 1),
                torch.tensor(targets, device=logits.device),
                lengths,
                sizes,
                blank=BLANK,
                reduction="none",
                zero_infinity=True,
            )
        return losses / sizes.to(losses.device)

    def _logits(
        self, clips: Sequence[Utterance], masks: Sequence[np.ndarray[Any, Any]]
    ) -> tuple[Tensor, Tensor]:
        """Return the logits `[B, T, V]` of clips and their frames `[B]`, masked where asked."""
        network, device = self._base.network, self._place.device
        arrays = [torch.from_numpy(clip.features()).float() for clip in clips]
        features = torch.nn.utils.rnn.pad_sequence(arrays, batch_first=True).to(device)
        lengths = torch.tensor([len(array) for array in arrays], device=device)
        masked = torch.zeros(features.shape[:2], dtype=torch.bool)
        for row, mask in enumerate(masks):
            masked[row, : len(mask)] = torch.from_numpy(mask)
        language = self.state.tensors.__getitem__
        with self._place.autocast():
            # The residual stream grows from layer to layer: float32 from its start on.
            value = network.project(features).float()
            value = torch.where(masked.to(device)[..., None], self._base.mask_vector, value)
            is_padded = len({len(array) for array in arrays}) > 1
            value = network.encode(value, language, lengths if is_padded else None)
            return network.head(value, language), lengths

    def evaluate(self, clips: Sequence[Utterance]) -> Evaluation:
        """Return the error rates of greedy decoding."""
        scored: list[Scored] = []
        with torch.inference_mode():
            for rows in parts(range(len(clips)), [c.frames for c in clips], self._most_frames):
                batch = [clips[row] for row in rows]
                for clip, text in zip(batch, self._texts(batch), strict=True):
                    scored.append(Scored("", "", clip.text, text))
        rate: ErrorRate = score(scored).total
        losses = self.state.losses
        return Evaluation(
            step=self.state.step,
            loss=sum(losses) / len(losses) if losses else float("nan"),
            cer=1.0 if rate.cer is None else rate.cer,
            wer=1.0 if rate.wer is None else rate.wer,
            is_blank=not any(clip.hypothesis for clip in scored),
        )

    def evaluate_best(self, clips: Sequence[Utterance]) -> Evaluation:
        """Return the error rates with the tensors of the best evaluation."""
        current, self.state.tensors = self.state.tensors, self.state.best
        try:
            return self.evaluate(clips)
        finally:
            self.state.tensors = current

    def _texts(self, clips: Sequence[Utterance]) -> Iterator[str]:
        logits, lengths = self._logits(clips, [])
        best = logits.argmax(-1).cpu()
        for row, length in zip(best, lengths.tolist(), strict=True):
            collapsed = torch.unique_consecutive(row[:length]).tolist()
            yield self._vocabulary.text(token for token in collapsed if token != BLANK)

    def _record(self, found: Evaluation) -> None:
        state = self.state
        earlier = state.best_evaluation
        state.losses = []
        state.history.append(found)
        if earlier is None or found.cer < earlier.cer:
            state.best = {name: t.detach().clone() for name, t in state.tensors.items()}

    def _is_settled(self) -> bool:
        """Whether the error rate has not fallen for a while, text being written at all."""
        best = self.state.best_evaluation
        if best is None or best.is_blank:
            return False
        later = sum(found.step > best.step for found in self.state.history)
        return later >= self._options.patience

    def save(self, path: Path) -> None:
        """Write the state; a reader sees the old file or the new one."""
        state = self.state
        document = {
            "tensors": {name: tensor.detach() for name, tensor in state.tensors.items()},
            "optimizer": self._optimizer.state_dict(),
            "step": state.step,
            "losses": state.losses,
            "failed": state.failed,
            "history": [asdict(found) for found in state.history],
            "best": state.best,
        }
        with atomic_open(path) as stream:
            torch.save(document, stream)

    def resume(self, path: Path) -> None:
        """Go on from a state of the same training.

        Raises:
            MmsError: the file is damaged.
        """
        try:
            document = torch.load(path, map_location=self._place.device, weights_only=True)
        except (RuntimeError, OSError, ValueError, EOFError) as error:
            raise MmsError(f"{path} is damaged: remove it to begin again ({error})") from error
        state = self.state
        with torch.no_grad():
            for name, tensor in document["tensors"].items():
                state.tensors[name].copy_(tensor)
        self._optimizer.load_state_dict(document["optimizer"])
        state.step, state.failed = document["step"], document["failed"]
        state.losses, state.best = document["losses"], document["best"]
        state.history = [Evaluation(**found) for found in document["history"]]
