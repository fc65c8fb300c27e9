"""Command `mms lm`: language models in the decoder's compact format."""

from pathlib import Path

import click

from mms_engine.cli.program import one_line

_PATH = click.Path(path_type=Path)


@click.group()
def lm() -> None:
    """Prepare language models for beam search."""


@lm.command()
@click.argument("source", type=_PATH)
@click.argument("target", type=_PATH)
def convert(*, source: Path, target: Path) -> None:
    """Convert an ARPA language model to the compact format, which needs no parsing.

    SOURCE is an ARPA file, plain or gzip. TARGET is written completely, or keeps what it had. Peak
    memory is about 45 bytes per n-gram.
    """
    from mms_engine.cli.progress import byte_bar
    from mms_engine.errors import LanguageModelError
    from mms_engine.formats.output import open_output
    from mms_kernels.arpa import convert_arpa
    from mms_kernels.lm import NgramModel

    try:
        with (
            byte_bar(source.name, source.stat().st_size) as bar,
            open_output(target, inputs=[source], binary=True) as stream,
        ):
            convert_arpa(source, stream, progress=bar.update)
            stream.flush()
            # A device or fifo, whose name is a descriptor, cannot be read again.
            model = NgramModel.open(Path(stream.name)) if isinstance(stream.name, str) else None
    except OSError as error:
        raise LanguageModelError(one_line(error)) from error
    except ValueError as error:
        raise LanguageModelError(str(error)) from error
    if model is not None:
        click.echo(
            f"{target}: order {model.order}, {model.ngrams} n-grams, {model.states} states, "
            f"{model.nbytes} bytes",
            err=True,
        )
