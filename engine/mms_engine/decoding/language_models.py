"""N-gram language models of the caller: one for every language, or one for each."""

import threading
from collections.abc import Mapping
from pathlib import Path

from mms_engine.errors import LanguageModelError
from mms_kernels.lm import LanguageModel, open_lm

SUFFIXES = (".lm", ".bin", ".arpa", ".arpa.gz", ".arpa.bz2", ".arpa.xz")
"""Ends of the names of language models, after the code of their language; the first one counts."""

LanguageModelFiles = str | Path | Mapping[str, str | Path]
"""File, folder with a file for each language such as `eng.arpa.gz`, or files by language."""


def language_model_files(folder: Path) -> dict[str, Path]:
    """Return the language models of a folder, by the code in their names."""
    found: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in folder.glob(f"*{suffix}"):
            if path.is_file():
                found.setdefault(path.name.removesuffix(suffix), path)
    return found


class LanguageModels:
    """Language models, each opened when its language is first used."""

    def __init__(self, files: LanguageModelFiles | None) -> None:
        """Find the models; a single one is opened at once.

        Raises:
            LanguageModelError: a single model cannot be read, or a folder has none.
        """
        self._lock = threading.Lock()
        self._opened: dict[Path, LanguageModel] = {}
        self._folder: Path | None = None
        self._single: Path | None = None
        self._by_language: Mapping[str, Path] = {}
        if isinstance(files, Mapping):
            self._by_language = {code: Path(path) for code, path in files.items()}
        elif files is not None and Path(files).is_dir():
            self._folder = Path(files)
            self._by_language = language_model_files(self._folder)
            if not self._by_language:
                raise LanguageModelError(
                    f"{files} has no language models: name each for its language, such as "
                    "eng.arpa.gz"
                )
        elif files is not None:
            self._single = Path(files)
            self._open(self._single)

    def path(self, language: str) -> Path | None:
        """Return the file of a language's model; `None` if it has none."""
        return self._single or self._by_language.get(language)

    def of(self, language: str) -> LanguageModel | None:
        """Return the model of a language; `None` if it has none.

        Raises:
            LanguageModelError: it cannot be read.
        """
        path = self.path(language)
        return None if path is None else self._open(path)

    def all(self) -> list[LanguageModel]:
        """Return the models of all languages.

        Raises:
            LanguageModelError: one cannot be read.
        """
        paths = [self._single] if self._single else self._by_language.values()
        return [self._open(path) for path in paths]

    def warnings(self, language: str) -> tuple[str, ...]:
        """Return what a caller should know who expects a model for a language."""
        if not self._by_language or language in self._by_language:
            return ()
        where = f"{self._folder} has" if self._folder else "there is"
        return (f"{where} no language model of {language}: it is decoded without one",)

    def _open(self, path: Path) -> LanguageModel:
        with self._lock:
            if path not in self._opened:
                self._opened[path] = open_language_model(path)
            return self._opened[path]


def open_language_model(path: str | Path) -> LanguageModel:
    """Load the language model of a file.

    Raises:
        LanguageModelError: it cannot be read.
    """
    try:
        return open_lm(Path(path))
    except (ImportError, OSError, ValueError) as error:
        raise LanguageModelError(f"the language model cannot be used: {error}") from error
