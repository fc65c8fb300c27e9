"""Tensor files: safetensors, and torch pickles read without running code from them."""

import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from mms_engine.errors import MmsError
from mms_export.checkpoints.documents import check_present
from mms_export.checkpoints.names import is_language_tensor
from mms_export.checkpoints.weights import FloatArray, Weights


def open_tensors(paths: list[Path]) -> Weights:
    """Open the files of a checkpoint, all safetensors or all pickles.

    Raises:
        MmsError: a file is damaged, or is no tensor file.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    readers: dict[str, Callable[[str], FloatArray]] = {}
    for path in paths:
        check_present(path)
        if path.suffix == ".safetensors":
            opened = _open_safetensors(path)
        else:
            opened = tensors_of(load_pickle(path), where=str(path))
        shapes |= opened.shapes
        readers |= dict.fromkeys(opened.shapes, opened.read)
    return Weights(shapes, lambda name: readers[name](name))


def renamed(tensors: Weights, rename: Callable[[str], str]) -> Weights:
    """Return the tensors under the names that `rename` gives them."""
    names = {rename(old): old for old in tensors.shapes}
    shapes = {new: tensors.shapes[old] for new, old in names.items()}
    return Weights(shapes, lambda name: tensors.read(names[name]))


def base_model(tensors: Weights, ignored: tuple[str, ...]) -> Weights:
    """Return the tensors of no language whose names do not begin with one of `ignored`."""
    return _only(
        tensors, lambda name: not is_language_tensor(name) and not name.startswith(ignored)
    )


def language_tensors(tensors: Weights) -> Weights:
    """Return the tensors of a language among those of a base model."""
    return _only(tensors, is_language_tensor)


def _only(tensors: Weights, wanted: Callable[[str], bool]) -> Weights:
    return Weights({n: shape for n, shape in tensors.shapes.items() if wanted(n)}, tensors.read)


def _open_safetensors(path: Path) -> Weights:
    try:
        with safe_open(str(path), framework="numpy") as reader:
            shapes = {name: tuple(reader.get_slice(name).get_shape()) for name in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MmsError(f"{path} cannot be read as safetensors: {error}") from error
    return Weights(shapes, partial(_read_safetensor, path))


def _read_safetensor(path: Path, name: str) -> FloatArray:
    # Opened for each tensor: pages read through an open mapping count as resident memory.
    with safe_open(str(path), framework="numpy") as reader:
        if reader.get_slice(name).get_dtype() != "BF16":
            return np.asarray(reader.get_tensor(name), dtype=np.float32)
    with safe_open(str(path), framework="pt") as reader:
        array: FloatArray = reader.get_tensor(name).float().numpy()
    return array


def load_pickle(path: Path, inert: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Load a torch pickle that holds a mapping.

    Tensors stay mapped from the file, except in the format of torch before 1.6, which may hold
    tensors only.

    Args:
        path: The file.
        inert: Modules whose classes the file may name. They are not imported: placeholder classes
            that only hold attributes stand in for them.

    Raises:
        MmsError: the file is damaged, or names code to run.
    """
    import torch

    try:
        is_mappable = zipfile.is_zipfile(path)
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path) if is_mappable else []
        for name in names:
            if name.split(".")[0] not in inert:
                raise MmsError(f"{path} asks for {name} to be run: it is not loaded")
        with torch.serialization.safe_globals([(_inert_class(name), name) for name in names]):
            document = torch.load(path, map_location="cpu", weights_only=True, mmap=is_mappable)
    except (RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
        # The rest of the message advises loading the file unsafely.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise MmsError(f"{path} cannot be read as a torch checkpoint: {reason}") from error
    if not isinstance(document, dict):
        raise MmsError(f"{path} holds a {type(document).__name__}, not named tensors")
    return document


class _Inert:
    """Placeholder for a class of another project: holds its arguments, does nothing."""

    def __init__(self, *given: object) -> None:
        self.given = given


def _inert_class(name: str) -> type[_Inert]:
    return type(name.rsplit(".", 1)[-1], (_Inert,), {})


def tensors_of(document: Mapping[str, Any], *, where: str) -> Weights:
    """Return the tensors of a state dict.

    Raises:
        MmsError: an entry is not a tensor.
    """
    for name, tensor in document.items():
        if not hasattr(tensor, "shape"):
            raise MmsError(f"{where}: {name} is a {type(tensor).__name__}, not a tensor")

    def read(name: str) -> FloatArray:
        array: FloatArray = document[name].detach().float().numpy()
        return array

    return Weights({name: tuple(t.shape) for name, t in document.items()}, read)
