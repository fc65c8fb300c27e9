"""Corpora of the hub: files of FLEURS, and data sets that the library `datasets` reads."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mms_bench.errors import BenchError

FLEURS = "google/fleurs"
_TEXTS = ("transcription", "sentence", "text", "normalized_text", "raw_transcription")
_LANGUAGES = ("lang_code", "language", "lang", "locale")
_SPEAKERS = ("speaker", "speaker_id", "client_id")


@dataclass(frozen=True, slots=True)
class RowText:
    """Columns of a row without its audio; language and speaker are empty if not given."""

    text: str
    language: str
    speaker: str


class Rows:
    """Rows of a data set with audio and text."""

    def __init__(self, rows: Any, name: str) -> None:  # noqa: ANN401 - not typed
        """Take over a `datasets.Dataset`.

        Raises:
            BenchError: it has no column of audio, or none of text.
        """
        from datasets import Audio

        audio = [key for key, kind in rows.features.items() if isinstance(kind, Audio)]
        self._text = _first(_TEXTS, rows.column_names)
        if not audio or not self._text:
            columns = ", ".join(rows.column_names)
            raise BenchError(f"{name} has no column of audio, or none of text: it has {columns}")
        self._audio = audio[0]
        self._rows = rows.cast_column(self._audio, Audio(decode=False))

    def texts(self) -> Iterator[RowText]:
        """Yield the texts, in the order of the rows."""
        names = self._rows.column_names
        language, speaker = _first(_LANGUAGES, names), _first(_SPEAKERS, names)
        for row in self._rows.remove_columns([self._audio]):
            found = (str(row[key]) if key else "" for key in (language, speaker))
            yield RowText(row[self._text], *found)

    def audio(self, index: int) -> Path | BinaryIO:
        """Return the encoded audio of a row."""
        found = self._rows[index][self._audio]
        return Path(found["path"]) if found["bytes"] is None else io.BytesIO(found["bytes"])


def _first(wanted: Sequence[str], names: Sequence[str]) -> str:
    return next((name for name in wanted if name in names), "")


def load_rows(where: str, split: str) -> Rows:
    """Return the rows of a split of `FOLDER` (saved by `datasets`) or `NAME[:CONFIG]` of the hub.

    Raises:
        BenchError: the library is not installed, or cannot load them.
    """
    try:
        import datasets
    except ImportError as error:
        raise BenchError("datasets:… needs the package datasets: pip install datasets") from error
    try:
        if Path(where).is_dir():
            found = datasets.load_from_disk(where)
            found = found[split] if isinstance(found, datasets.DatasetDict) else found
        else:
            name, _, config = where.partition(":")
            found = datasets.load_dataset(name, config or None, split=split)
    except Exception as error:
        raise BenchError(f"cannot load {where}: {_one_line(error)}") from error
    return Rows(found, where)


def fleurs_file(code: str, name: str) -> Path:
    """Return a file of a language of FLEURS, from the hub's cache or downloaded.

    Args:
        code: Such as sw_ke.
        name: Path within the folder of the language.

    Raises:
        BenchError: it is not in the cache, and cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    path = f"data/{code}/{name}"
    try:
        found = hf_hub_download(FLEURS, path, repo_type="dataset", local_files_only=True)
    except LocalEntryNotFoundError:
        try:
            found = hf_hub_download(FLEURS, path, repo_type="dataset")
        except Exception as error:
            raise BenchError(
                f"{path} of {FLEURS} is not in the local hub cache and cannot be downloaded "
                f"({_one_line(error)}): check the code, such as sw_ke, or name a folder: "
                "fleurs:FOLDER"
            ) from error
    return Path(found)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
