"""Journal of transcripts, with which an interrupted run goes on where it was."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from mms_engine.types import Float32Array


class Journal:
    """Transcripts of one system by clip; a line of the file each."""

    def __init__(self, folder: Path, identity: Mapping[str, str], *, resume: bool) -> None:
        """Open the journal of a system, empty unless a run is resumed.

        Args:
            folder: Folder of journals.
            identity: All that a transcript depends on besides its audio.
            resume: Whether to keep what an earlier run left.
        """
        self._identity = json.dumps(dict(sorted(identity.items())))
        name = hashlib.sha256(self._identity.encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{name}.jsonl"
        self._texts: dict[str, str] = {}
        if resume and self._path.is_file():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # cut short by a kill
                    entry = json.loads(line)
                    self._texts[entry["clip"]] = entry["text"]
        else:
            self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        """Return how many transcripts there are."""
        return len(self._texts)

    @staticmethod
    def key(samples: Float32Array, language: str) -> str:
        """Return the key of a clip: a digest of its samples and its language."""
        return hashlib.sha256(samples.tobytes() + language.encode()).hexdigest()[:32]

    def get(self, key: str) -> str | None:
        """Return the transcript of a clip, `None` if there is none."""
        return self._texts.get(key)

    def add(self, texts: Mapping[str, str]) -> None:
        """Append transcripts by key."""
        self._texts.update(texts)
        lines = [json.dumps({"clip": key, "text": text}) for key, text in texts.items()]
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"\n{line}" for line in lines))
