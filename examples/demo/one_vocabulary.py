"""Cost and gain of the mask of `--lang`, on a model without adapters made of the demo's.

    python -m examples.demo.one_vocabulary --out FOLDER

Trains the demo's transformer without adapters, and one head over the letters of its five languages,
writes it in the layout of Omnilingual ASR, exports it, and measures the character error rate of
speakers never heard with and without the language named. The convolutions are those of the demo,
frozen. A stopped run goes on where it was.
"""

import dataclasses
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import jiwer
import msgspec
import torch
from examples.demo.batches import Batch, ClipStore, TrainingBatches
from examples.demo.layout import backbone_tensors
from examples.demo.prepare import CACHE, SAMPLE_RATE
from examples.demo.text import ALPHABETS, LANGUAGES
from examples.demo.train import published_trainer, share_cores
from examples.demo.trainer import Trainer
from examples.demo.vocab import WORD_BOUNDARY
from torch.utils.data import DataLoader

from mms_engine import Recognizer
from mms_engine.bundle.manifest import MULTILINGUAL, Wav2Vec2Ctc
from mms_export.checkpoints.omnilingual import transformers_name
from mms_export.checkpoints.open import open_checkpoint
from mms_export.synthetic.omnilingual import SPECIAL, write_folder

logger = logging.getLogger(__name__)

STRANGERS = ("multispeaker", "leftout")
RATE, WARMUP_STEPS = 8e-4, 50
SAVE_STEPS = 20
FROZEN = ("feature_extractor", "projection", "pos_conv", "masked_spec_embed")
"""Beginnings of names, or parts of them, of the weights that are not trained."""


def build_tokens() -> list[str]:
    """Return the tokens of the head: special ones, the space, the letters of all languages."""
    return [*SPECIAL, " ", *sorted(frozenset().union(*ALPHABETS.values()))]


def new_trainer(tokens: Sequence[str]) -> Trainer:
    """Return a trainer with the demo's weights, without adapters, and a head from its heads.

    The row of a token is the mean of the rows that the languages have for it.
    """
    demo = published_trainer()
    sizes = {"languages": (MULTILINGUAL,), "vocab_sizes": (len(tokens),), "layer_drop": 0.0}
    config = dataclasses.replace(demo.config, **sizes)
    trainer = Trainer(config, {MULTILINGUAL: {token: row for row, token in enumerate(tokens)}})
    trainer.step = demo.step
    theirs, ours = demo.model.state_dict(), trainer.model.state_dict()
    with torch.no_grad():
        for name, tensor in ours.items():
            if "adapter_layer" in name:
                tensor.zero_()
            elif not name.startswith("head_"):
                tensor.copy_(theirs[name])
        for row, token in enumerate(tokens):
            places = [
                (index, vocab[wanted])
                for index, vocab in enumerate(demo.vocab.values())
                if (wanted := _DEMO_NAMES.get(token, token)) in vocab
            ]
            for part in ("head_weight", "head_bias"):
                ours[part][0, row] = torch.stack([theirs[part][at] for at in places]).mean(0)
    return trainer


_DEMO_NAMES = {"<s>": "<pad>", "<pad>": "<s>", " ": WORD_BOUNDARY}
"""Names in the demo's vocabularies of tokens that have another here: its blank is `<pad>`."""


class OneVocabulary(TrainingBatches):
    """The batches of the demo's training, with the ids of one vocabulary and one language."""

    def __init__(self, store: ClipStore, vocab: dict[str, int]) -> None:
        words = vocab | {WORD_BOUNDARY: vocab[" "]}
        super().__init__(store, dict.fromkeys(LANGUAGES, words))

    def __getitem__(self, step: int) -> Batch:
        batch = super().__getitem__(step)
        return dataclasses.replace(batch, language=torch.zeros_like(batch.language))


def train(store: ClipStore, state: Path, steps: int) -> Trainer:
    """Train for so many steps, going on from the state in a file; the rate falls to zero."""
    trainer = Trainer.load(state) if state.exists() else new_trainer(build_tokens())
    first, last = trainer.cooldown or (trainer.step, trainer.step + steps)
    trainer.cooldown = [first, last]
    for name, parameter in trainer.model.named_parameters():
        parameter.requires_grad_(not name.startswith(FROZEN) and "adapter_layer" not in name)
    batches = OneVocabulary(store, trainer.vocab[MULTILINGUAL])
    loader: DataLoader[Batch] = DataLoader(
        batches, batch_size=None, sampler=range(trainer.step, last), num_workers=1
    )
    losses = []
    for batch in loader:
        done = trainer.step - first
        rate = RATE * min((done + 1) / WARMUP_STEPS, (last - trainer.step) / (last - first))
        loss, _ = trainer.train_step(batch, rate)
        losses.append(float(loss.mean()))
        if trainer.step % SAVE_STEPS == 0 or trainer.step == last:
            seconds = time.process_time()
            logger.info("step %d: ctc %.3f, %.0f s", done + 1, sum(losses) / len(losses), seconds)
            losses.clear()
            trainer.save(state)
    return trainer


def write_model(trainer: Trainer, out: Path) -> None:
    """Write the model in the layout of Omnilingual ASR for transformers."""
    state = {
        transformers: tensor
        for name, tensor in backbone_tensors(trainer.model.state_dict(), trainer.config).items()
        if (transformers := name.removeprefix("wav2vec2.")) != "masked_spec_embed"
    }
    positions = "encoder.pos_conv_embed.conv.weight"
    length, direction = state.pop(f"{positions}_g"), state.pop(f"{positions}_v")
    state[positions] = direction * (length / direction.norm(dim=(0, 1), keepdim=True))
    state["lm_head.weight"] = trainer.model.head_weight.detach()[0]
    state["lm_head.bias"] = trainer.model.head_bias.detach()[0]
    demo = open_checkpoint("demo").config
    if not isinstance(demo, Wav2Vec2Ctc):
        raise TypeError("the demo is no model of recognition")
    config = msgspec.structs.replace(demo, adapter_attn_dim=0, adapter_parameters=0)
    out.mkdir(exist_ok=True)
    tokens = list(trainer.vocab[MULTILINGUAL])
    write_folder(out, config, tokens, lambda name: state[transformers_name(name)].numpy())


def export(model: str, out: Path) -> Path:
    """Export a model to a bundle, and return it."""
    program = "from mms_export.cli import main; main()"
    given = ["--model", model, "--out", str(out), "--precision", "fp32", "--quiet"]
    subprocess.run([sys.executable, "-c", program, *given], check=True)
    return out


def measure(store: ClipStore, plain: Path, adapters: Path) -> dict[str, dict[str, float]]:
    """Return error rates of strangers by language: of the model, without and with the mask.

    Also the share of letters without the mask that the language does not have, and the error rate
    of the demo with its adapters.
    """
    found: dict[str, dict[str, float]] = {}
    with Recognizer.open(plain) as ours, Recognizer.open(adapters) as theirs:
        for language in LANGUAGES:
            indices = store.select(*STRANGERS, language)
            clips = [store.audio(index) for index in indices]
            references = [store.clips[index].text for index in indices]
            texts = {
                "unmasked": list(ours.transcribe(clips, language=MULTILINGUAL)),
                "masked": list(ours.transcribe(clips, language=language)),
                "adapters": list(theirs.transcribe(clips, language=language)),
            }
            written = {name: [one.text for one in texts[name]] for name in texts}
            letters = "".join(written["unmasked"]).replace(" ", "")
            own = ours.bundle.vocabulary(language).tokens
            found[language] = {
                "clips": len(clips),
                "minutes": round(sum(map(len, clips)) / SAMPLE_RATE / 60, 1),
                "foreign_letters": round(sum(c not in own for c in letters) / len(letters), 4),
                **{
                    f"{name}_cer": round(jiwer.cer(references, written[name]), 4)
                    for name in written
                },
            }
            logger.info("%s %s", language, found[language])
    return found


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE)
@click.option("--steps", type=int, default=220, show_default=True)
def main(out: Path, cache: Path, steps: int) -> None:
    """Train, export and measure; prints the error rates, and writes them to FOLDER/rates.json."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    share_cores()
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100")  # it kept code for every shape
    out.mkdir(parents=True, exist_ok=True)
    store = ClipStore(cache)
    trainer = train(store, out / "state.pt", steps)
    write_model(trainer, out / "checkpoint")
    plain = export(str(out / "checkpoint"), out / "bundle")
    rates = measure(store, plain, export("demo", out / "demo"))
    text = json.dumps(rates, indent=2)
    (out / "rates.json").write_text(text + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
