"""Mean of the weights of training states, and of the published checkpoint if it has a share.

    python -m examples.demo.mean cooldown.pt --published 0.2 --out mean.pt

The mean of two models of one course of training may be better than both: what a later one forgot,
an earlier one still knows.
"""

from pathlib import Path

import click
import torch
from examples.demo.train import published_trainer
from examples.demo.trainer import Trainer


@click.command()
@click.argument("states", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--published",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the published checkpoint; the states have equal parts of the rest.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="State to write.")
def main(states: tuple[Path, ...], published: float, out: Path) -> None:
    """Write a state whose running average is the mean of those of STATES."""
    trainer = Trainer.load(states[0])
    parts = [((1 - published) / len(states), Trainer.load(state).average) for state in states]
    if published:
        parts.append((published, published_trainer().average))
    weights = [dict(model.named_parameters()) for _, model in parts]
    with torch.no_grad():
        for name, parameter in trainer.average.named_parameters():
            if all(torch.equal(own[name], parameter) for own in weights):
                continue  # kept convolutions stay the same to the bit
            parameter.zero_()
            for (share, _), own in zip(parts, weights, strict=True):
                parameter.add_(own[name], alpha=share)
    trainer.save(out)


if __name__ == "__main__":
    main()
