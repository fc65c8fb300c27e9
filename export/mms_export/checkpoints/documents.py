"""Text files of a checkpoint: JSON documents and the model card."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mms_engine.errors import MmsError

_POINTER = b"version https://git-lfs.github.com/spec/"


def check_present(path: Path) -> None:
    """Check that a file holds its content, not a reference to it.

    Raises:
        MmsError: it is a pointer of Git LFS, or a link to a file that is not there.
    """
    if path.is_symlink() and not path.exists():
        raise MmsError(f"{path} links to a file that is not there: download the checkpoint again")
    with path.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise MmsError(
                f"{path} is a pointer of Git LFS, not the file itself: run `git lfs pull` in "
                f"{path.parent}, or download the file"
            )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a byte order mark is skipped.

    Raises:
        MmsError: the file is missing or malformed.
    """
    try:
        check_present(path)
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise MmsError(f"{path} is missing: {path.parent} is not an MMS checkpoint") from error
    except (OSError, ValueError, RecursionError) as error:
        raise MmsError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise MmsError(f"{path} holds a {type(document).__name__}, not an object")
    return document


@contextlib.contextmanager
def interpreting(where: Path) -> Iterator[None]:
    """Turn the errors of values of another type than expected into one that names the file.

    Raises:
        MmsError: a value of a document is not of the expected type.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MmsError(
            f"{where} is not of the form that transformers writes ({type(error).__name__}: "
            f"{error}): copy it from the model that this one was trained from"
        ) from error


def read_model_card(folder: Path) -> dict[str, str]:
    """Return the `key: value` lines of the front matter of README.md.

    The list below a key is its value too, if it has one item. Bytes that are not UTF-8 are
    replaced.
    """
    card = folder / "README.md"
    if not card.is_file():
        return {}
    text = card.read_text(encoding="utf-8", errors="replace").removeprefix("\ufeff")
    parts = text.split("---", maxsplit=2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    values: dict[str, list[str]] = {}
    key = ""
    for line in parts[1].splitlines():
        if line.startswith(("- ", "  - ")):
            values.setdefault(key, []).append(_unquoted(line.strip()[1:]))
        elif ":" in line:
            key, _, value = line.partition(":")
            key = key.strip()
            values[key] = [_unquoted(value)] if value.strip() else []
    return {key: items[0] for key, items in values.items() if len(items) == 1 and items[0]}


def _unquoted(value: str) -> str:
    return value.strip().strip("\"'")
