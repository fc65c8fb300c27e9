"""Hub repositories: the local cache first, then a download of the files that are missing."""

import fnmatch
from pathlib import Path

from mms_engine.errors import MmsError
from mms_export.checkpoints.documents import read_json
from mms_export.checkpoints.omnilingual import MODEL_TYPE
from mms_export.checkpoints.selection import parse_patterns
from mms_export.checkpoints.tokenizer import FILES, read_tokenizer
from mms_export.checkpoints.whole import is_whole

_TEXTS = [
    "config.json",
    "README.md",
    "preprocessor_config.json",
    "processor_config.json",
    "vocab.json",
    "tokenizer.json",
    "*.model",
    *FILES,
]
_VOICE_FILES = ("config.json", "tokenizer_config.json", "vocab.json")
_WEIGHTS = {"safetensors": "model*.safetensors*", "bin": "pytorch_model*.bin*", "pt": "*.pt"}


def snapshot(repository: str, languages: str) -> Path:
    """Return the folder of a repository's snapshot that holds some languages.

    Args:
        repository: Its id, such as facebook/mms-1b-all.
        languages: `all`, or codes and globs separated by commas; no others are downloaded.

    Raises:
        MmsError: a file is not in the cache, and the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = parse_patterns(languages)
    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        if not _missing(cached, patterns):
            return cached
    except LocalEntryNotFoundError:
        pass
    try:
        # Pickles only where there are no safetensors.
        for suffix, weights in _WEIGHTS.items():
            files = [*_TEXTS, weights, *(f"adapter.{pattern}.{suffix}" for pattern in patterns)]
            found = Path(snapshot_download(repository, allow_patterns=files))
            if list(found.glob(weights)):
                break
    except Exception as error:
        raise unreachable(repository, str(error)) from error
    # Without a connection the download returns the cached snapshot, incomplete as it is.
    missing = _missing(found, patterns)
    if missing:
        raise unreachable(f"{missing} of {repository}", "the hub cannot be reached or has none")
    return found


def unreachable(what: str, reason: str) -> MmsError:
    """Return the error of a file that is neither in the cache nor can be downloaded."""
    first = reason.strip().splitlines()[0] if reason.strip() else "no reason given"
    return MmsError(
        f"{what} is not in the local hub cache and cannot be downloaded ({first}): "
        "give --model the folder of a checkpoint, or `demo`"
    )


def _missing(cached: Path, patterns: list[str]) -> str:
    """Return the name of a file that a cached snapshot lacks, or an empty string."""
    has_pieces = any(cached.glob("*.model"))
    if any(cached.glob("*.pt")):
        return "" if has_pieces else "the tokenizer (*.model)"
    if not (cached / "config.json").is_file():
        return "config.json"
    document = read_json(cached / "config.json")
    is_multilingual = document.get("model_type") == MODEL_TYPE
    if is_multilingual and not has_pieces and not (cached / "tokenizer.json").is_file():
        return "tokenizer.json"
    is_without_text = is_multilingual or is_whole(document)
    if not is_without_text and not (cached / "vocab.json").is_file():
        return "vocab.json"
    if not any(list(cached.glob(pattern)) for pattern in _WEIGHTS.values()):
        return "model.safetensors"
    if is_without_text:
        return ""
    vocabs = read_json(cached / "vocab.json")
    if not all(isinstance(vocab, dict) for vocab in vocabs.values()):
        return ""  # one vocabulary, which names no languages
    wanted = {code for pattern in patterns for code in fnmatch.filter(vocabs, pattern)}
    # The adapter of the target language is among the base weights too.
    wanted.discard(read_tokenizer(cached).target_lang or "")
    absent = sorted(c for c in wanted if not list(cached.glob(f"adapter.{c}.*")))
    return f"adapter.{absent[0]}.safetensors" if absent else ""


def voice_snapshot(repository: str, *, weights: bool = False) -> Path:
    """Return the folder of a voice's snapshot, from the cache or downloaded.

    Args:
        repository: Its id, such as facebook/mms-tts-swh.
        weights: Whether it has to hold the weights too.

    Raises:
        MmsError: a file is not in the cache, and the hub cannot be reached or has none.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        if _has_voice(cached, weights=weights):
            return cached
    except LocalEntryNotFoundError:
        pass
    try:
        for pattern in _WEIGHTS.values():
            files = [*_VOICE_FILES, "README.md", *([pattern] if weights else [])]
            found = Path(snapshot_download(repository, allow_patterns=files))
            if _has_voice(found, weights=weights):
                return found
    except Exception as error:
        raise unreachable(repository, str(error)) from error
    raise unreachable(f"a voice in {repository}", "the hub cannot be reached or has none")


def _has_voice(folder: Path, *, weights: bool) -> bool:
    found = [path for pattern in _WEIGHTS.values() for path in folder.glob(pattern)]
    return all((folder / name).is_file() for name in _VOICE_FILES) and bool(found or not weights)
