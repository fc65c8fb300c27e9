"""Voices on the hub: one repository per language, named by a prefix and its code."""

import re
from pathlib import Path

from mms_engine.errors import LanguageError
from mms_export.checkpoints.checkpoint import VoiceSet
from mms_export.checkpoints.hub import voice_snapshot
from mms_export.checkpoints.selection import is_glob, matching, parse_patterns
from mms_export.checkpoints.voices import code_of_name, voice_set

_REPOSITORY = re.compile(r"(?P<prefix>.*(?:^|/|-)tts)(?:-(?P<code>.+))?")


def is_voice_repository(repository: str) -> bool:
    """Whether a hub id is that of a voice or the prefix of many, by its name."""
    return _REPOSITORY.fullmatch(repository) is not None


def open_hub_voices(repository: str, languages: str) -> VoiceSet:
    """Open the voice of a repository, or those of a prefix.

    Args:
        repository: Id of a voice such as facebook/mms-tts-swh, or prefix such as facebook/mms-tts.
        languages: Voices to export, in the syntax of `--lang`; no others are downloaded.

    Raises:
        MmsError: a voice is neither in the local cache nor on the hub.
    """
    match = _REPOSITORY.fullmatch(repository)
    if match and match["code"]:
        path, code = voice_snapshot(repository), code_of_name(match["code"])
        start = repository.removesuffix(code)
        return voice_set(repository, path, {code: path}, languages, prefix=start)
    warnings = []
    patterns = parse_patterns(languages)
    codes = {pattern for pattern in patterns if not is_glob(pattern)}
    if len(codes) < len(patterns):
        found, warning = _listed(repository)
        codes.update(matching(languages, found))
        warnings += [warning] if warning else []
    if not codes:
        raise LanguageError(
            f"no voice of {repository} that {languages!r} names is in the local hub cache, and the "
            "hub cannot be reached"
        )
    prefix = f"{repository}-"
    folders = {code: voice_snapshot(f"{prefix}{code}") for code in sorted(codes)}
    path = next(iter(folders.values()))
    return voice_set(repository, path, folders, languages, prefix=prefix, warnings=warnings)


def _listed(prefix: str) -> tuple[set[str], str]:
    """Return the codes of the hub's repositories of a prefix, and a warning without connection."""
    from huggingface_hub import HfApi, constants

    beginning = f"models--{prefix.replace('/', '--')}-"
    cache = Path(constants.HF_HUB_CACHE)
    cached = {path.name.removeprefix(beginning) for path in cache.glob(f"{beginning}*")}
    owner, _, name = prefix.rpartition("/")
    try:
        if constants.HF_HUB_OFFLINE:
            raise OSError("offline mode is on")
        found = HfApi().list_models(author=owner or None, search=f"{name}-")
        ids = (model.id for model in found)
        return {id_.removeprefix(f"{prefix}-") for id_ in ids if id_.startswith(f"{prefix}-")}, ""
    except Exception as error:  # noqa: BLE001 - the client's errors have no common class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return cached, f"only voices in the local hub cache: the hub cannot be reached ({reason})"
