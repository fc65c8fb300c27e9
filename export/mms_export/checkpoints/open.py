"""Checkpoints by name: the demo, a folder, a fairseq file, or a hub repository."""

import re
from dataclasses import replace
from pathlib import Path

from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import AdapterFile, Checkpoint
from mms_export.checkpoints.hub import snapshot
from mms_export.checkpoints.selection import ALL
from mms_export.checkpoints.transformers import open_transformers, read_transformers_adapter
from mms_export.checkpoints.weights import Weights

DEMO = "demo"
DEMO_LICENCE = "CC-BY-SA-3.0"
DEMO_NOTICE = (
    "This is the demonstration model, trained on telephone prompts in five languages: "
    "it shows how things work and is not for use."
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_checkpoint(model: str, languages: str = ALL) -> Checkpoint:
    """Open a checkpoint.

    Args:
        model: `demo`, a folder, a fairseq `.pt` file, or the id of a hub repository.
        languages: Languages to download from a hub, in the syntax of `--lang`.

    Raises:
        MmsError: there is no such checkpoint, or it is not one of MMS ASR.
    """
    if model == DEMO:
        demo = open_transformers(demo_checkpoint(), name=DEMO)
        return replace(demo, licence=DEMO_LICENCE, notice=DEMO_NOTICE)
    path = Path(model)
    if path.is_dir():
        return open_transformers(path, name=path.resolve().name)
    if path.is_file():
        from mms_export.checkpoints.fairseq import open_fairseq  # imports torch

        return open_fairseq(path)
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise MmsError(f"{model} is neither a folder, nor a file, nor a hub id such as owner/name")
    return open_transformers(snapshot(model, languages), name=model)


def demo_checkpoint() -> Path:
    """Return the folder of the demo checkpoint, in the source tree or the installed package.

    Raises:
        MmsError: it is in neither.
    """
    package = Path(__file__).resolve().parents[1]
    source = package.parents[1] / "examples" / "demo" / "checkpoint"
    for candidate in (source, package / "demo"):
        if (candidate / "config.json").is_file():
            return candidate
    raise MmsError("the demo checkpoint is missing from the installation: install mms-engine again")


def read_adapter(file: AdapterFile, config: Wav2Vec2Ctc) -> Weights:
    """Open a language's tensors, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: the tensors are not those of an adapter of this model.
    """
    if file.format == "transformers":
        return read_transformers_adapter(file, config)
    from mms_export.checkpoints.fairseq import read_fairseq_adapter  # imports torch

    return read_fairseq_adapter(file, config)
