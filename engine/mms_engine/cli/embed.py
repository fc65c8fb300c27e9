"""Command `mms embed`: hidden states of recordings, as arrays by file name."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from mms_engine.backends.options import RunOptions
from mms_engine.cli.audio_options import AudioChoice, audio_options
from mms_engine.cli.options import bundle_option, engine_options, find_bundle
from mms_engine.cli.program import SectionedCommand, interruptible, one_line, section

if TYPE_CHECKING:
    from mms_engine.cli.progress import Bar
    from mms_engine.embeddings.embedder import Embedder
    from mms_engine.embeddings.options import EmbedderOptions
    from mms_engine.formats.arrays import ArrayWriter
    from mms_engine.types import Pooling

_EXAMPLES = """\b
Examples:
  mms embed clips/ --bundle bundles/mms-300m --layer 12 -o clips.npz
  mms embed talk.mp3 --bundle bundles/mms-1b --pool none -o talk.safetensors
  mms embed clip.flac --lang eng -o clip.npz
"""
_embedding = section("Embedding")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """Arguments of the command line."""

    files: tuple[str, ...]
    layer: int | None
    pool: "Pooling"
    language: str | None
    output: Path
    bundle: Path | None
    audio: AudioChoice
    engine: RunOptions

    def options(self) -> "EmbedderOptions":
        from mms_engine.embeddings.options import EmbedderOptions

        return EmbedderOptions(
            **dataclasses.asdict(self.engine),
            allow_truncated=self.audio.allow_truncated,
            track=self.audio.track,
            channel=self.audio.channel,
        )


def _array_file(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    if value.suffix not in (".npz", ".safetensors"):
        raise click.BadParameter(f"{value} must end in .npz or .safetensors", ctx, param)
    return value


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@_embedding(
    "--layer",
    type=click.IntRange(min=0),
    metavar="N",
    help="Hidden state to write, numbered as in transformers 5: 0 for the input of the first "
    "layer, N for the output of layer N.  [default: the last, behind the final layer norm]",
)
@_embedding(
    "--pool",
    type=click.Choice(("mean", "none")),
    default="mean",
    show_default=True,
    help="Mean over all frames, one vector per recording, or every frame, one vector per 20 ms.",
)
@_embedding(
    "--lang",
    "language",
    metavar="CODE",
    help="Language whose adapter is used, for a bundle of speech recognition with several.",
)
@section("Output")(
    "-o",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    required=True,
    callback=_array_file,
    help="Output file, .npz or .safetensors: a float32 array per recording, under the name of its "
    "file.",
)
@audio_options
@bundle_option
@engine_options
def embed(**values: Any) -> None:  # noqa: ANN401
    """Compute embeddings: the hidden states of a model's encoder.

    FILES are audio or video files, folders, or - for standard input. The model is a pretrained
    network, such as that of mms-export --model facebook/mms-300m, or any model of speech
    recognition or language identification.
    """
    request = _Request(**values)
    interruptible(lambda: _run(request))


def _run(request: _Request) -> None:
    """Embed the recordings and write the file.

    Raises:
        MmsError: the bundle cannot be opened, or the only recording failed; nothing is written.
        click.ClickException: some of several recordings failed; each was reported.
    """
    from mms_engine.cli.identify import report_folders
    from mms_engine.cli.progress import Bar, open_with_bar
    from mms_engine.cli.transcribe.recordings import from_arguments
    from mms_engine.embeddings.embedder import Embedder
    from mms_engine.errors import MmsError
    from mms_engine.formats.arrays import open_arrays
    from mms_engine.formats.output import InputFiles, check_output

    recordings = from_arguments(request.files, None)
    report_folders(recordings.skipped, recordings.unreadable)
    found = {one.name: one.source for one in recordings.found}
    inputs = InputFiles(Path(name) for name in found)
    check_output(request.output, inputs=inputs)
    limits, bundle = request.audio.limits(), find_bundle(request.bundle)
    failures = 0
    opened = open_with_bar(
        bundle, lambda: Embedder.open(bundle, options=request.options(), limits=limits)
    )
    with opened as embedder:
        if request.layer is not None and request.layer > embedder.layers:
            raise click.UsageError(
                f"--layer {request.layer}: {bundle} has layers 0 to {embedder.layers}"
            )
        embedder.check_language(request.language)
        metadata = _metadata(embedder, request.layer, request.pool)
        with Bar() as bar, open_arrays(request.output, metadata, inputs=inputs) as writer:
            for name, source in found.items():
                try:
                    _embed(embedder, request, name, source, writer, bar)
                except MmsError as error:
                    if len(found) == 1:
                        raise
                    failures += 1
                    with bar.paused():
                        click.echo(f"Error: {name}: {one_line(error)}", err=True)
            if failures == len(found):
                raise click.ClickException("no recording could be embedded")
    if failures or recordings.unreadable:
        counts = f"{failures} of {len(found)} recordings failed"
        if recordings.unreadable:
            counts += f", {len(recordings.unreadable)} folders could not be listed"
        raise click.ClickException(f"{request.output} is incomplete: {counts}")


def _embed(
    embedder: "Embedder",
    request: _Request,
    name: str,
    source: Path | BinaryIO,
    writer: "ArrayWriter",
    bar: "Bar",
) -> None:
    """Embed one recording and add it to the file."""
    from mms_engine.system import printable

    found = embedder.embed(
        source, request.layer, request.pool, language=request.language, progress=bar.advance
    )
    with bar.paused():
        for warning in found.warnings:
            click.echo(f"Warning: {name}: {warning}", err=True)
    writer.add(printable(name), found.values)


def _metadata(embedder: "Embedder", layer: int | None, pool: str) -> dict[str, str]:
    """Return the metadata of a file of safetensors."""
    import json

    document = {
        "model": embedder.bundle.manifest.source.name,
        "fingerprint": embedder.bundle.manifest.source.fingerprint,
        "layer": "last" if layer is None else layer,
        "pool": pool,
        "frame_seconds": embedder.frame_seconds,
    }
    # A single key, as in adapter files: several would have no fixed order in other writers.
    return {"mms": json.dumps(document, ensure_ascii=False)}
