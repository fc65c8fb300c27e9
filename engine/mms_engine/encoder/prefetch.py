"""Languages of the next batch, loaded while the current one runs."""

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor

from mms_engine.encoder.model import AcousticModel
from mms_engine.errors import BundleError, LanguageError


class Prefetch:
    """Loading of the next batch's languages beside the current one.

    It runs in a thread of its own: files are read and hashed while no lock of the device is held.
    It starts once the current batch holds its languages, so that it cannot evict them.
    """

    def __init__(
        self, model: AcousticModel, loader: ThreadPoolExecutor, languages: set[str]
    ) -> None:
        self._bank = model.bank
        self._loader = loader
        self._languages = languages
        self._future: Future[None] | None = None

    def start(self) -> None:
        """Begin, once."""
        if self._future is None and self._languages and self._bank is not None:
            self._future = self._loader.submit(self._bank.prefetch, sorted(self._languages))

    def wait(self) -> None:
        """Wait until it is done; a language that cannot be loaded is an error of its own batch."""
        if self._future is not None:
            with contextlib.suppress(BundleError, LanguageError):
                self._future.result()
