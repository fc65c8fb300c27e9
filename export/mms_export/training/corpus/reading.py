"""Readers of corpora, and the choices that they leave to the user."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mms_export.training.corpus.clip import Part
from mms_export.training.corpus.media import Recordings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """Choices for formats that leave some."""

    tiers: tuple[str, ...] = ()
    """Tiers of annotation documents, by name, type or participant; empty if there is one only."""
    recordings: Recordings = field(default_factory=Recordings)
    """Folders in which the recordings of annotation documents are looked for."""
    text_column: str = ""
    """Column or field of the text; empty for the usual names."""
    language: str = ""
    """Code of the language: rows in others are skipped, where the corpus names them."""


class Reader(Protocol):
    """Reader of a format."""

    def __call__(self, path: Path, options: ReadingOptions) -> Part:
        """Return the clips of a file.

        Raises:
            MmsError: it cannot be read, or is malformed.
        """
        ...
