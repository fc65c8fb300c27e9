"""Weight files of a checkpoint's folder, and why a folder without them cannot be exported."""

from pathlib import Path

from mms_engine.errors import MmsError
from mms_export.checkpoints.documents import check_present, read_json

_STEMS = (("model", "safetensors"), ("pytorch_model", "bin"))
_FOREIGN = {
    "tf_model.h5": "TensorFlow",
    "flax_model.msgpack": "Flax",
}
PEFT = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def find_weights(folder: Path) -> list[Path]:
    """Return the weight files: one, or shards with an index. Safetensors precede a pickle.

    Raises:
        MmsError: there are none, or they are incomplete; the message names what is there instead.
    """
    for stem, suffix in _STEMS:
        single, index = (folder / f"{stem}.{suffix}{end}" for end in ("", ".index.json"))
        if single.is_file() or single.is_symlink():
            check_present(single)
            return [single]
        if index.is_file():
            return _shards(index)
    raise _no_weights(folder)


def _shards(index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise MmsError(f"{index} has no weight_map: it is not an index of shards")
    shards = [index.parent / name for name in sorted(set(names.values()))]
    for shard in shards:
        if shard.parent != index.parent or not shard.is_file():
            raise MmsError(
                f"{index} names {shard.name!r}, which is not beside it: the checkpoint is "
                "incomplete, download it again"
            )
        check_present(shard)
    return shards


def _no_weights(folder: Path) -> MmsError:
    if any((folder / name).exists() for name in PEFT):
        return MmsError(
            f"{folder} holds a LoRA adapter of PEFT, not a model: merge it into its base model "
            "(merge_and_unload), save that with save_pretrained, and give its folder"
        )
    partial = next(folder.rglob("*.incomplete"), None)
    if partial is not None:
        return MmsError(
            f"{folder} is an unfinished download ({partial.name} is in it): download it again"
        )
    for name, framework in _FOREIGN.items():
        if (folder / name).exists():
            return MmsError(
                f"{folder} holds weights of {framework} only ({name}): convert them to "
                "model.safetensors with transformers 4 (from_tf or from_flax, save_pretrained)"
            )
    return MmsError(f"{folder} holds neither model.safetensors nor pytorch_model.bin")
