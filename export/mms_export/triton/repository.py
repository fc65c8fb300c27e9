"""Model repository of Triton, written from a finished bundle and put in place model by model."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import Graph, Profile, Wav2Vec2Ctc
from mms_engine.encoder.loading import PREFERENCE
from mms_engine.errors import BundleError
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Precision
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.writer import Advance
from mms_export.triton.config import MARK, graph_config
from mms_export.triton.encoder import (
    bank_layout,
    encoder_model,
    with_bank,
    write_bank,
)
from mms_export.triton.hosted import HOSTED

FRONTEND, ENCODER = "mms_frontend", "mms_encoder"
MODELS = (FRONTEND, ENCODER, *HOSTED)
CONFIG = "config.pbtxt"


def check_repository(folder: Path, *, may_replace: bool) -> None:
    """Check that the models to write are not someone else's.

    Raises:
        BundleError: a model is there that no export has written, unless `may_replace`.
    """
    for name in MODELS:
        model = folder / name
        if not os.path.lexists(model) or may_replace:
            continue
        config = model / CONFIG
        if not config.is_file() or not config.read_bytes().startswith(MARK.encode()):
            raise BundleError(
                f"{model} is there already and was not written by an export: choose another "
                "--triton, or give --replace to overwrite it"
            )


def graph_precision(precisions: Sequence[Precision]) -> Precision:
    """Return the precision of the graphs: the one that the engine would choose on a GPU."""
    return next(precision for precision in PREFERENCE["cuda"] if precision in precisions)


PlanBuilder = Callable[[Graph, Path, Path], tuple[Profile, ...]]
"""Builds the plan of a graph, from the first path to the second, and returns its profiles."""


def write_repository(
    source: Path,
    languages: Sequence[str],
    folder: Path,
    precision: Precision,
    advance: Advance,
    build: PlanBuilder | None = None,
) -> None:
    """Write the models to `folder`; those of an earlier export are replaced.

    Args:
        source: Folder of the bundle.
        languages: Languages in the bank of the encoder, by slot.
        folder: Folder of the repository.
        precision: Precision of the graphs.
        advance: Called with the bytes of the bank that were written.
        build: Builder of plans; `None` for ONNX.

    Raises:
        BundleError: the bundle is damaged, or the file system refused.
        PlanError: a plan cannot be built.
    """
    bundle = open_bundle(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside it, for Triton may be watching the repository itself.
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}.", suffix=".partial", dir=folder.resolve().parent
        ) as name:
            staged = Path(name)
            frontend = _write_frontend(bundle, staged / FRONTEND, precision)
            encoder = _write_encoder(bundle, staged / ENCODER, languages, precision, advance)
            for model, graph in ((FRONTEND, frontend), (ENCODER, encoder)):
                _configure(staged / model, graph, build)
            for model, render in HOSTED.items():
                _write_hosted(staged / model, *render(model, source.resolve()))
            for model in MODELS:
                _put(staged, folder, model)
    except OSError as error:
        raise BundleError(
            f"cannot write {folder}: {error.strerror}. Free some space or choose another folder, "
            "then run the same command again"
        ) from error


def _put(staged: Path, folder: Path, model: str) -> None:
    """Move a model to its place, and one that is there out of it."""
    place = folder / model
    if os.path.lexists(place):
        place.rename(staged / f"{model}.former")
    (staged / model).chmod(0o755)
    (staged / model).rename(place)


def _configure(folder: Path, graph: Graph, build: PlanBuilder | None) -> None:
    """Write the configuration of a graph, whose files are replaced by a plan with `build`."""
    version, profiles = folder / "1", None
    if build is not None:
        plan = folder / "model.plan"
        profiles = build(graph, version / "model.onnx", plan)
        shutil.rmtree(version)
        version.mkdir()
        plan.rename(version / plan.name)
    config = graph_config(folder.name, graph, profiles)
    (folder / CONFIG).write_text(config, encoding="utf-8")


def _write_frontend(bundle: Bundle, folder: Path, precision: Precision) -> Graph:
    graph, path = bundle.graph("frontend", precision)
    version = folder / "1"
    version.mkdir(parents=True)
    _copy(path, version / "model.onnx")
    _copy_data(bundle, [file.path for file in graph.files[1:]], version)
    return graph


def _write_encoder(
    bundle: Bundle, folder: Path, languages: Sequence[str], precision: Precision, advance: Advance
) -> Graph:
    graph, path = bundle.graph("encoder", precision)
    vocabs = {language: entry.vocab_size for language, entry in bundle.manifest.data.items()}
    dtype = NUMERICS[precision].operands
    layout = bank_layout(bundle.model(Wav2Vec2Ctc), dtype, vocabs, languages)
    version = folder / "1"
    version.mkdir(parents=True)
    write_bank(bundle, layout, version, advance)
    content = encoder_model(path, layout).SerializeToString(deterministic=True)
    (version / "model.onnx").write_bytes(content)
    _copy_data(bundle, [file.path for file in graph.files[1:]], version)
    document = [_language(slot, code, bundle) for slot, code in enumerate(languages)]
    text = json.dumps(document, ensure_ascii=False, indent=1)
    (folder / "languages.json").write_text(f"{text}\n", encoding="utf-8")
    return with_bank(graph, layout)


def _language(slot: int, code: str, bundle: Bundle) -> dict[str, object]:
    return {"slot": slot, "language": code, "tokens": _texts(bundle.vocabulary(code))}


def _texts(vocabulary: Vocabulary) -> list[str]:
    """Return the text of each token, empty for the blank and special tokens."""
    boundary = vocabulary.word_delimiter
    return [
        token if vocabulary.is_text(i) else vocabulary.delimiter_text if token == boundary else ""
        for i, token in enumerate(vocabulary.tokens)
    ]


def _write_hosted(folder: Path, config: str, code: str) -> None:
    version = folder / "1"
    version.mkdir(parents=True)
    (folder / CONFIG).write_text(config, encoding="utf-8")
    (version / "model.py").write_text(code, encoding="utf-8")


def _copy_data(bundle: Bundle, names: Sequence[str], folder: Path) -> None:
    """Copy external data under its name, by which the graph refers to it."""
    for name in names:
        _copy(bundle.path / name, folder / Path(name).name)


def _copy(source: Path, target: Path) -> None:
    """Link a file, or copy it to another file system. An export never changes a file in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
