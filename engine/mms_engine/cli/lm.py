"""`mms lm convert`: language models in the form the decoder maps."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click


@click.group()
def lm() -> None:
    """Prepare language models for the decoder."""


@lm.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def convert(*, source: Path, target: Path) -> None:
    """Convert the ARPA file SOURCE, plain or gzip, into TARGET, which loads at once.

    TARGET appears whole or not at all. Memory is about 45 bytes an n-gram.
    """
    from mms_engine.errors import LanguageModelError
    from mms_kernels.arpa import convert_arpa
    from mms_kernels.lm import NgramModel

    try:
        with _bar(source) as progress:
            convert_arpa(source, target, progress=progress)
        model = NgramModel.open(target)
    except OSError as error:
        raise LanguageModelError(_reason(error, target)) from error
    except ValueError as error:
        raise LanguageModelError(str(error)) from error
    click.echo(
        f"{target}: order {model.order}, {model.ngrams} n-grams, {model.states} states, "
        f"{model.nbytes} bytes",
        err=True,
    )


def _reason(error: OSError, target: Path) -> str:
    return f"{error.filename or target}: {error.strerror or error}"


@contextlib.contextmanager
def _bar(source: Path) -> Iterator[Callable[[int], object]]:
    """A bar on stderr over the bytes of `source`, on a terminal."""
    from tqdm import tqdm

    with tqdm(
        total=source.stat().st_size,
        unit="B",
        unit_scale=True,
        desc=source.name,
        leave=False,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
    ) as bar:
        yield bar.update
