"""Finds the checkpoint that `--model` names: the demo, a folder, a file, or a hub id."""

import re
from dataclasses import replace
from pathlib import Path

from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import Checkpoint
from mms_export.checkpoints.transformers import open_transformers
from mms_export.hub import snapshot
from mms_export.selection import ALL

DEMO = "demo"
DEMO_LICENCE = "CC-BY-SA-3.0"
DEMO_NOTICE = (
    "This is the demonstration model, trained on telephone prompts in five languages: "
    "it shows how things work and is not for use."
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_source(model: str, languages: str = ALL) -> Checkpoint:
    """Open the checkpoint `model`.

    Args:
        model: `demo`, the path of a folder or of a fairseq `.pt`, or the id of a hub repository.
        languages: What will be exported, as `--lang` says it: a hub is asked for no more.

    Raises:
        MmsError: there is none, or it is not an MMS ASR checkpoint.
    """
    if model == DEMO:
        demo = open_transformers(demo_checkpoint(), name=DEMO)
        return replace(demo, licence=DEMO_LICENCE, notice=DEMO_NOTICE)
    path = Path(model)
    if path.is_dir():
        return open_transformers(path, name=path.resolve().name)
    if path.is_file():
        from mms_export.checkpoints.fairseq import open_fairseq  # torch is heavy

        return open_fairseq(path)
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise MmsError(f"{model} is neither a folder, nor a file, nor a hub id such as owner/name")
    return open_transformers(snapshot(model, languages), name=model)


def demo_checkpoint() -> Path:
    """Return the folder of the demo checkpoint: in the source tree, else in the installed package.

    Raises:
        MmsError: it is in neither.
    """
    package = Path(__file__).resolve().parent
    source = package.parents[1] / "examples" / "demo" / "checkpoint"
    for candidate in (source, package / "demo"):
        if (candidate / "config.json").is_file():
            return candidate
    raise MmsError("the demo checkpoint is missing from the installation: install mms-engine again")
