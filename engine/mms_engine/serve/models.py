"""Open models of a server: bundles by task, and the names by which clients choose them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mms_engine.align.aligner import Aligner
from mms_engine.align.options import AlignerOptions
from mms_engine.asr.options import RecognizerOptions
from mms_engine.asr.recognizer import Recognizer
from mms_engine.audio import AudioLimits
from mms_engine.backends.options import RunOptions
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Classifier, Wav2Vec2Ctc
from mms_engine.errors import BundleError, MmsError
from mms_engine.languages import all_languages
from mms_engine.lid.identifier import Identifier
from mms_engine.lid.options import IdentifierOptions
from mms_engine.serve.batcher import Batcher
from mms_engine.serve.config import ServeConfig
from mms_engine.serve.errors import ApiError

OPENAI_NAMES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-live-transcribe",
    "gpt-realtime-whisper",
)
"""Aliases of the default recogniser, for clients that know only these."""
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True, eq=False)
class SpeechModel:
    """A bundle of speech recognition, its batcher, and its aligner."""

    id: str
    recognizer: Recognizer
    batcher: Batcher
    aligner: Aligner

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes that it can transcribe."""
        return self.recognizer.languages


@dataclass(slots=True, eq=False)
class Models:
    """Open models. A task without a model has no routes."""

    speech: list[SpeechModel] = field(default_factory=list)
    """Recognisers, first the default."""
    identifier: Identifier | None = None
    aligner: Aligner | None = None
    """Romanised aligner, for any language."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Id of a model by a further name."""

    def find(self, name: str) -> SpeechModel:
        """Return the recogniser of a name.

        Raises:
            ApiError: 404; the message names those there are.
        """
        wanted = self.aliases.get(_DATE.sub("", name), self.aliases.get(name, name))
        for model in self.speech:
            if wanted in (model.id, model.id.rpartition("/")[2]):
                return model
        ids = ", ".join(model.id for model in self.speech)
        message = f"no model {name!r}; there are {ids} and the aliases {', '.join(self.aliases)}"
        raise ApiError(404, message, code="model_not_found", param="model")

    def close(self) -> None:
        """Free everything."""
        for model in self.speech:
            model.batcher.close()
            model.recognizer.close()
        for other in (self.identifier, self.aligner):
            if other is not None:
                other.close()


def check_bundles(paths: Sequence[Path]) -> tuple[Bundle, ...]:
    """Return the bundles with their manifests read.

    Raises:
        BundleError: one is missing, damaged or of an unknown task, or none is of recognition.
    """
    bundles = tuple(open_bundle(path) for path in paths)
    kinds = (Wav2Vec2Ctc, Wav2Vec2Classifier)
    for bundle in bundles:
        if not isinstance(bundle.manifest.model, kinds):
            kind = type(bundle.manifest.model).__name__
            raise BundleError(f"{bundle.path} holds a {kind} model, which is not served")
    names = [model_id(bundle) for bundle in bundles if _is_recognizer(bundle)]
    if len(set(names)) < len(names):
        raise BundleError(f"two bundles are of one model: {', '.join(names)}")
    if not names:
        raise BundleError("no bundle of speech recognition: add one with --bundle")
    return bundles


def open_models(bundles: Sequence[Bundle], config: ServeConfig) -> Models:
    """Open bundles, and run each recogniser once.

    Raises:
        MmsError: one cannot be opened or run, or an alias names no model.
    """
    models = Models()
    try:
        all_languages()  # the table takes a moment to read
        for bundle in bundles:
            _open(bundle, models, config)
        models.aliases = dict.fromkeys(OPENAI_NAMES, models.speech[0].id)
        for name, target in config.aliases:
            try:
                models.aliases[name] = models.find(target).id
            except ApiError as error:
                raise MmsError(f"the alias {name}: {error.message}") from error
    except BaseException:
        models.close()
        raise
    return models


def _open(bundle: Bundle, models: Models, config: ServeConfig) -> None:
    limits = AudioLimits(max_seconds=config.limits.max_seconds)
    run = {name: getattr(config.run, name) for name in RunOptions.__dataclass_fields__}
    if isinstance(bundle.manifest.model, Wav2Vec2Classifier):
        options = IdentifierOptions(**run)
        models.identifier = Identifier.open(bundle.path, options=options, limits=limits)
        return
    aligner = AlignerOptions(**run)
    if not _is_recognizer(bundle):
        models.aligner = Aligner.open(bundle.path, options=aligner, limits=limits)
        return
    recognition = RecognizerOptions(**run, beam=config.beam)
    recognizer = Recognizer.open(bundle.path, options=recognition, limits=limits)
    batcher = Batcher(recognizer.continuous())
    # The aligner shares the weights.
    sharing = Aligner(recognizer.acoustic, aligner, limits)
    models.speech.append(SpeechModel(model_id(bundle), recognizer, batcher, sharing))
    batcher.start(recognizer.languages[0], bundle.manifest.sample_rate)


def _is_recognizer(bundle: Bundle) -> bool:
    model = bundle.manifest.model
    return isinstance(model, Wav2Vec2Ctc) and model.text != "uroman"


def model_id(bundle: Bundle) -> str:
    """Return the name of a bundle's model: that of its checkpoint, without folders of a path."""
    name = bundle.manifest.source.name
    return Path(name).name if Path(name).is_absolute() else name
