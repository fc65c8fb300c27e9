"""Models that suites measure: languages, description and settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from mms_bench.errors import BenchError
from mms_bench.run.context import RunOptions
from mms_bench.run.result import Model
from mms_engine.bundle import Bundle, open_bundle
from mms_export.checkpoints.checkpoint import Checkpoint, VoiceSet
from mms_export.checkpoints.open import DEMO, DEMO_VOICE, demo_checkpoint, open_checkpoint
from mms_export.checkpoints.voices import open_voice_folder, read_voice_tensors

_FULL_SIZE_PARAMETERS = 950_000_000
_FULL_SIZE_VOICE = 28_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Model of a run."""

    languages: tuple[str, ...]
    """Codes of the run."""
    model: Model
    settings: Mapping[str, str]
    """Settings of the work, for the report."""


def recognition_subject(options: RunOptions, most: int | None) -> Subject:
    """Return the recogniser of the options, with at most so many languages.

    Raises:
        MmsError: the checkpoint cannot be read, or has not the languages or the bundle.
    """
    checkpoint = open_checkpoint(str(options.checkpoint))
    parameters = sum(prod(shape) for shape in checkpoint.weights.shapes.values())
    return Subject(
        languages=_languages(checkpoint, options, most),
        model=Model(
            name=DEMO if checkpoint.path == demo_checkpoint() else checkpoint.name,
            parameters=parameters,
            languages=len(checkpoint.adapters),
            full_size=parameters >= _FULL_SIZE_PARAMETERS,
        ),
        settings={
            "clip": f"{options.seconds:g} s",
            "batch": str(options.batch),
            "recordings": options.recordings.name,
            "audio": ", ".join(path.name for path in options.audio),
        },
    )


def voices_subject(options: RunOptions, most: int | None) -> Subject:
    """Return the voices of the options, at most so many.

    Raises:
        MmsError: the voices cannot be read, or the bundle is not of them.
    """
    path = options.checkpoint
    voices = open_voice_folder(path, name=path.name, languages="all")
    tensors = read_voice_tensors(next(iter(voices.voices.values())))
    parameters = sum(prod(shape) for shape in tensors.shapes.values())
    return Subject(
        languages=_languages(voices, options, most),
        model=Model(
            name=DEMO_VOICE if path == demo_checkpoint(DEMO_VOICE) else voices.name,
            parameters=parameters,
            languages=len(voices.voices),
            full_size=parameters >= _FULL_SIZE_VOICE,
        ),
        settings={"text": options.text},
    )


def _languages(
    source: Checkpoint | VoiceSet, options: RunOptions, most: int | None
) -> tuple[str, ...]:
    """Return the requested languages, or the first that checkpoint and bundle share."""
    found = tuple(source.files)
    for language in options.languages:
        if language not in found:
            raise BenchError(f"{source.path} has no {language!r}: it has {_some(found)}")
    if options.bundle is not None:
        bundle = open_bundle(options.bundle, verify=False)
        _check_origin(bundle, source)
        found = tuple(language for language in found if language in bundle.languages)
    return options.languages or found[:most]


def _some(codes: Iterable[str]) -> str:
    first = list(codes)[:12]
    return ", ".join(first)


def _check_origin(bundle: Bundle, source: Checkpoint | VoiceSet) -> None:
    if bundle.manifest.source.fingerprint != source.fingerprint(source.digests()):
        raise BenchError(
            f"the bundle {bundle.path} was exported from another checkpoint than "
            f"{source.path}: remove it and export it again"
        )
