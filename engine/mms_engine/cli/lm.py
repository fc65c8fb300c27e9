"""Command `mms lm`: language models in the decoder's compact format."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.group()
def lm() -> None:
    """Prepare language models for beam search."""


@lm.command()
@click.argument("source", type=_PATH)
@click.argument("target", type=_PATH)
def convert(*, source: Path, target: Path) -> None:
    """Convert an ARPA language model to the compact format, which needs no parsing.

    SOURCE is an ARPA file, plain or gzip. TARGET is written completely or not at all. Peak memory
    is about 45 bytes per n-gram.
    """
    from mms_engine.cli.progress import byte_bar
    from mms_engine.errors import LanguageModelError
    from mms_kernels.arpa import convert_arpa
    from mms_kernels.lm import NgramModel

    try:
        with byte_bar(source.name, source.stat().st_size) as advance:
            convert_arpa(source, target, progress=advance)
        model = NgramModel.open(target)
    except OSError as error:
        reason = f"{error.filename or target}: {error.strerror or error}"
        raise LanguageModelError(reason) from error
    except ValueError as error:
        raise LanguageModelError(str(error)) from error
    click.echo(
        f"{target}: order {model.order}, {model.ngrams} n-grams, {model.states} states, "
        f"{model.nbytes} bytes",
        err=True,
    )
