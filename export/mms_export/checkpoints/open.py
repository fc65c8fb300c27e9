"""Checkpoints by name: the demo, a folder, a fairseq file, or a hub repository."""

import re
from dataclasses import replace
from pathlib import Path

from mms_engine.bundle.manifest import Wav2Vec2
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import AdapterFile, Checkpoint, VoiceSet
from mms_export.checkpoints.documents import read_json
from mms_export.checkpoints.hub import snapshot
from mms_export.checkpoints.hub_voices import is_voice_repository, open_hub_voices
from mms_export.checkpoints.omnilingual import (
    LLM_MODEL_TYPE,
    MODEL_TYPE,
    fairseq2_tensors,
    files_of_card,
    open_fairseq2,
    open_omnilingual,
    read_omnilingual_head,
    repository_of_card,
)
from mms_export.checkpoints.selection import ALL
from mms_export.checkpoints.transformers import open_transformers, read_transformers_adapter
from mms_export.checkpoints.voices import is_voice, open_voice_folder, voice_folders
from mms_export.checkpoints.weights import FloatArray, Weights
from mms_export.checkpoints.whole import is_whole, open_whole

DEMO, DEMO_LID, DEMO_VOICE = "demo", "demo-lid", "demo-voice"
_DEMO_FOLDERS = {DEMO: "checkpoint", DEMO_LID: "lid/checkpoint", DEMO_VOICE: "voices"}
"""Checkpoints of the demo, by name: folders in examples/demo."""
DEMO_LICENCE = "CC-BY-SA-3.0"
DEMO_NOTICE = (
    "This is the demonstration model, trained on telephone prompts in five languages: "
    "it shows how things work and is not for use."
)
VOICE_LICENCE = "CC0-1.0"
VOICE_NOTICE = (
    "This is the demonstration voice, trained on a synthetic teacher: it shows how things work and "
    "is not for use."
)
_PART_OF_FOLDER = re.compile(r".+\.(safetensors|bin|json|h5|msgpack)")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_checkpoint(model: str, languages: str = ALL) -> Checkpoint:
    """Open a checkpoint.

    Args:
        model: `demo`, `demo-lid`, a folder, a fairseq `.pt` file, or the id of a hub repository.
        languages: Languages to export, in the syntax of `--lang`: those to download from a hub, or
            the language of a model that does not name its own.

    Raises:
        MmsError: there is no such checkpoint, or it is not one of MMS.
    """
    if model in (DEMO, DEMO_LID):
        demo = _open_folder(demo_checkpoint(model), model, languages)
        return replace(demo, licence=DEMO_LICENCE, notice=DEMO_NOTICE)
    path = Path(model)
    if path.is_dir():
        return _open_folder(path, path.resolve().name, languages)
    if repository := repository_of_card(model):
        try:
            return _open_folder(snapshot(repository, languages), model, languages)
        except MmsError as error:
            raise MmsError(f"{error}; or {files_of_card(model)}") from error
    if path.is_file():
        if _PART_OF_FOLDER.fullmatch(path.name):
            raise MmsError(
                f"{model} is one file of a checkpoint: give the folder that holds it, together "
                "with config.json, vocab.json and preprocessor_config.json"
            )
        return _open_pickle(path, languages)
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise MmsError(f"{model} is neither a folder, nor a file, nor a hub id such as owner/name")
    return _open_folder(snapshot(model, languages), model, languages)


def open_model(model: str, languages: str = ALL) -> Checkpoint | VoiceSet:
    """Open a checkpoint or a set of voices.

    Args:
        model: As for `open_checkpoint`; or `demo-voice`, a folder of one voice or of voices'
            folders, the hub id of a voice, or the beginning of the hub ids of many, such as
            facebook/mms-tts.
        languages: Languages to export, in the syntax of `--lang`.

    Raises:
        MmsError: there is no such checkpoint or voice, or it is not one of MMS.
    """
    if model == DEMO_VOICE:
        voices = open_voice_folder(demo_checkpoint(model), name=model, languages=languages)
        return replace(voices, licence=VOICE_LICENCE, notice=VOICE_NOTICE)
    path = Path(model)
    if path.is_dir():
        if is_voice(path) or (not (path / "config.json").is_file() and voice_folders(path)):
            return open_voice_folder(path, name=path.resolve().name, languages=languages)
    elif path.suffix == ".pth" and path.is_file():
        return open_voice_folder(path, name=path.resolve().parent.name, languages=languages)
    elif _HUB_ID.fullmatch(model) and is_voice_repository(model):
        return open_hub_voices(model, languages)
    return open_checkpoint(model, languages)


def _open_folder(path: Path, name: str, languages: str) -> Checkpoint:
    """Open a folder by the architecture in its config.json."""
    config = path / "config.json"
    document = read_json(config) if config.is_file() else {}
    if is_whole(document):
        return open_whole(path, name=name, languages=languages)
    if document.get("model_type") in (MODEL_TYPE, LLM_MODEL_TYPE):
        return open_omnilingual(path, name=name, languages=languages)
    pickles = list(path.glob("*.pt"))
    if not document and len(pickles) == 1:
        return replace(_open_pickle(pickles[0], languages), name=name)
    return open_transformers(path, name=name, languages=languages)


def _open_pickle(path: Path, languages: str) -> Checkpoint:
    # These modules import torch.
    from mms_export.checkpoints.fairseq import load_fairseq, open_fairseq
    from mms_export.checkpoints.torchaudio import is_torchaudio, open_torchaudio

    document = load_fairseq(path)
    tensors = fairseq2_tensors(document)
    if tensors is not None:
        return open_fairseq2(path, tensors, languages)
    if is_torchaudio(document):
        return open_torchaudio(path, document, languages)
    return open_fairseq(path, languages)


def demo_checkpoint(name: str = DEMO) -> Path:
    """Return the folder of a checkpoint of the demo, in the source tree or the installed package.

    Raises:
        MmsError: it is in neither.
    """
    package = Path(__file__).resolve().parents[1]
    source = package.parents[1] / "examples" / "demo" / _DEMO_FOLDERS[name]
    for candidate in (source, package / name):
        if any(candidate.rglob("config.json")):  # of voices, one folder down
            return candidate
    raise MmsError(
        f"the checkpoint of {name} is missing from the installation: install mms-engine again"
    )


def read_adapter(file: AdapterFile, config: Wav2Vec2) -> Weights:
    """Open a language's tensors, under the names of `names.adapter_shapes`, blank first.

    Raises:
        MmsError: the tensors are not those of an adapter of this model.
    """
    if file.format == "transformers":
        return _in_bundle_order(read_transformers_adapter(file, config), file.labels.rows)
    if file.format in ("fairseq2", "omniasr"):
        return _in_bundle_order(read_omnilingual_head(file, config), file.labels.rows)
    # These modules import torch.
    from mms_export.checkpoints.fairseq import load_fairseq, read_fairseq_adapter
    from mms_export.checkpoints.torchaudio import read_torchaudio_head

    if file.format == "fairseq":
        return _in_bundle_order(read_fairseq_adapter(file, config), file.labels.rows)
    head = read_torchaudio_head(file, load_fairseq(file.path), config)
    return _in_bundle_order(head, file.labels.rows)


def _in_bundle_order(tensors: Weights, rows: tuple[int, ...]) -> Weights:
    """Return the tensors with the head's rows in the order of the labels."""
    if rows == tuple(range(len(rows))):
        return tensors
    order = list(rows)
    shapes = {
        name: (len(order), *shape[1:]) if name.startswith("lm_head.") else shape
        for name, shape in tensors.shapes.items()
    }

    def read(name: str) -> FloatArray:
        tensor = tensors.read(name)
        return tensor[order] if name.startswith("lm_head.") else tensor

    return Weights(shapes, read)
