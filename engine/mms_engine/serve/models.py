"""Open models of a server: bundles by task, and the names by which clients choose them."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mms_engine.align.aligner import Aligner
from mms_engine.align.options import AlignerOptions
from mms_engine.asr.options import RecognizerOptions
from mms_engine.asr.recognizer import Recognizer
from mms_engine.audio import AudioLimits
from mms_engine.backends.options import RunOptions
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.manifest import Vits, Wav2Vec2Classifier, Wav2Vec2Ctc
from mms_engine.decoding.options import BeamSearch, Search
from mms_engine.errors import BundleError, LanguageModelError, MmsError, TextError
from mms_engine.languages import all_languages, language_from_code
from mms_engine.lid.identifier import Identifier
from mms_engine.lid.options import IdentifierOptions
from mms_engine.serve.batcher import Batcher
from mms_engine.serve.config import ServeConfig
from mms_engine.serve.errors import ApiError, missing_task
from mms_engine.serve.languages import language_code
from mms_engine.tts.options import SynthesizerOptions
from mms_engine.tts.synthesizer import Synthesizer

OPENAI_NAMES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-live-transcribe",
    "gpt-realtime-whisper",
)
"""Aliases of the default recogniser, for clients that know only these."""
SPEAKING_NAMES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Aliases of the default model of voices."""
_VOICES = ("mms-tts", "facebook/mms-tts")
"""Names of which `NAME-swh` means the voice swh of any model."""
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


_Model = TypeVar("_Model", "SpeechModel", "VoiceModel")


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


@dataclass(frozen=True, slots=True, eq=False)
class VoiceModel:
    """A bundle of voices."""

    id: str
    synthesizer: Synthesizer

    @property
    def voices(self) -> tuple[str, ...]:
        """Codes that it can speak."""
        return self.synthesizer.voices

    @property
    def default(self) -> str:
        """Voice of a request that names none: English, else the first."""
        return "eng" if "eng" in self.voices else self.voices[0]


@dataclass(slots=True, eq=False)
class Models:
    """Open models. A task without a model has no routes."""

    speech: list[SpeechModel] = field(default_factory=list)
    """Recognisers, first the default."""
    identifier: Identifier | None = None
    aligner: Aligner | None = None
    """Romanised aligner, for any language."""
    voices: list[VoiceModel] = field(default_factory=list)
    """Models of speech synthesis, first the default."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Name of a model by a further name."""

    @property
    def ids(self) -> list[str]:
        """Ids of the models that clients choose by name."""
        return [model.id for model in self.speech] + [model.id for model in self.voices]

    @property
    def synthesizer(self) -> Synthesizer | None:
        """Synthesiser of the default model of voices."""
        return self.voices[0].synthesizer if self.voices else None

    def find(self, name: str = "") -> SpeechModel:
        """Return the recogniser of a name, by default the first.

        Raises:
            ApiError: 404; the message names those there are.
        """
        if not self.speech:
            raise missing_task("speech recognition")
        wanted = self._resolved(name) or self.speech[0].id
        found = _named(wanted, self.speech)
        if found is None:
            raise self._unknown(name, [model.id for model in self.speech])
        return found

    def find_voices(self, name: str = "") -> tuple[VoiceModel, str]:
        """Return the model of voices of a name, by default the first, and its default voice.

        A name may end in the language of the voice, as `mms-tts-swh` does.

        Raises:
            ApiError: 404; the message names those there are.
        """
        if not self.voices:
            raise missing_task("voices")
        wanted = self._resolved(name) or self.voices[0].id
        found = _named(wanted, self.voices)
        if found is not None:
            return found, found.default
        own = [(name, [model]) for model in self.voices for name in _names(model.id)]
        for stem, among in (*own, *((name, self.voices) for name in _VOICES)):
            if wanted.startswith(f"{stem}-"):
                return find_voice(wanted.removeprefix(f"{stem}-"), among, "model")
        raise self._unknown(name, [model.id for model in self.voices])

    def id_of(self, name: str) -> str:
        """Return the id of a model of any task.

        Raises:
            ApiError: 404; there is none of this name.
        """
        for find in (self.find, lambda given: self.find_voices(given)[0]):
            with contextlib.suppress(ApiError):
                return find(name).id
        raise self._unknown(name, self.ids)

    def _resolved(self, name: str) -> str:
        return self.aliases.get(_DATE.sub("", name), self.aliases.get(name, name))

    def _unknown(self, name: str, ids: Sequence[str]) -> ApiError:
        known = {short for one in ids for short in _names(one)}
        aliases = ", ".join(alias for alias, target in self.aliases.items() if target in known)
        message = f"no model {name!r}; there are {', '.join(ids)} and the aliases {aliases}"
        return ApiError(404, message, code="model_not_found", param="model")

    def close(self) -> None:
        """Free everything."""
        for model in self.speech:
            model.batcher.close()
            model.recognizer.close()
        for voices in self.voices:
            voices.synthesizer.close()
        for other in (self.identifier, self.aligner):
            if other is not None:
                other.close()


def find_voice(given: str, models: Sequence[VoiceModel], param: str) -> tuple[VoiceModel, str]:
    """Return the first of several models that has a voice, and the code of the voice.

    Args:
        given: Code, tag or name of a language.
        models: At least one.
        param: Field it was given in.

    Raises:
        ApiError: 400, with the nearest codes.
    """
    known = tuple(dict.fromkeys(code for model in models for code in model.voices))
    code = language_code(given, known, param)
    return next(model for model in models if code in model.voices), code


def _named(name: str, models: Sequence[_Model]) -> _Model | None:
    """Return the first model of a name, which may lack the owner."""
    return next((model for model in models if name in _names(model.id)), None)


def _names(model: str) -> tuple[str, str]:
    """Return the id of a model, and the same without its owner."""
    return model, model.rpartition("/")[2]


def check_bundles(paths: Sequence[Path]) -> tuple[Bundle, ...]:
    """Return the bundles with their manifests read.

    Raises:
        BundleError: one is missing, damaged or of an unknown task, or none is of recognition or
            of voices.
    """
    bundles = tuple(open_bundle(path) for path in paths)
    kinds = (Wav2Vec2Ctc, Wav2Vec2Classifier, Vits)
    for bundle in bundles:
        if not isinstance(bundle.manifest.model, kinds):
            kind = type(bundle.manifest.model).__name__
            raise BundleError(f"{bundle.path} holds a {kind} model, which is not served")
    names = [model_id(bundle) for bundle in bundles if _is_recognizer(bundle) or _speaks(bundle)]
    if len(set(names)) < len(names):
        raise BundleError(f"two bundles are of one model: {', '.join(names)}")
    if not names:
        raise BundleError("no bundle of speech recognition or of voices: add one with --bundle")
    return bundles


def open_models(bundles: Sequence[Bundle], config: ServeConfig) -> Models:
    """Open bundles, and run each recogniser and a voice of each model once.

    Raises:
        MmsError: one cannot be opened or run, or an alias names no model.
    """
    models = Models()
    try:
        all_languages()  # the table takes a moment to read
        for bundle in bundles:
            _open(bundle, models, config)
        if models.speech:
            models.aliases |= dict.fromkeys(OPENAI_NAMES, models.speech[0].id)
        if models.voices:
            models.aliases |= dict.fromkeys(SPEAKING_NAMES, models.voices[0].id)
        for name, target in config.aliases:
            try:
                models.id_of(target)
            except ApiError as error:
                raise MmsError(f"the alias {name}: {error.message}") from error
            models.aliases[name] = models.aliases.get(target, target)
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
    if _speaks(bundle):
        models.voices.append(_open_voices(bundle, run))
        return
    aligner = AlignerOptions(**run)
    if not _is_recognizer(bundle):
        models.aligner = Aligner.open(bundle.path, options=aligner, limits=limits)
        return
    _check_language_model(bundle, config.beam)
    recognition = RecognizerOptions(**run, beam=config.beam)
    recognizer = Recognizer.open(bundle.path, options=recognition, limits=limits)
    batcher = Batcher(recognizer.continuous())
    # The aligner shares the weights.
    sharing = Aligner(recognizer.acoustic, aligner, limits)
    models.speech.append(SpeechModel(model_id(bundle), recognizer, batcher, sharing))
    batcher.start(bundle.only_language or recognizer.languages[0], bundle.manifest.sample_rate)


def _open_voices(bundle: Bundle, run: dict[str, Any]) -> VoiceModel:
    """Open a bundle of voices, and warm up its default voice."""
    if run["backend"] in ("tensorrt", "tensorrt-rtx"):
        run = {**run, "backend": None}  # there are no plans of voices
    model = VoiceModel(
        model_id(bundle), Synthesizer.open(bundle.path, options=SynthesizerOptions(**run))
    )
    language = language_from_code(model.default)
    with contextlib.suppress(TextError):  # the voice has no letter of it
        for _ in model.synthesizer.speak(language.native or language.name, model.default):
            pass
    return model


def _check_language_model(bundle: Bundle, beam: Search | None) -> None:
    """Check that a language model is not used for languages that it is not of.

    Raises:
        LanguageModelError: it is a single file, and the bundle has several languages.
    """
    if not isinstance(beam, BeamSearch) or not isinstance(beam.lm, str | Path):
        return
    if len(bundle.languages) > 1 and not Path(beam.lm).is_dir():
        raise LanguageModelError(
            f"{beam.lm} is a model of one language, {bundle.path.name} has "
            f"{len(bundle.languages)}: give a folder with a model for each, such as eng.arpa.gz"
        )


def _speaks(bundle: Bundle) -> bool:
    return isinstance(bundle.manifest.model, Vits)


def _is_recognizer(bundle: Bundle) -> bool:
    model = bundle.manifest.model
    return isinstance(model, Wav2Vec2Ctc) and model.text != "uroman"


def model_id(bundle: Bundle) -> str:
    """Return the name of a bundle's model: that of its checkpoint, without folders of a path."""
    name = bundle.manifest.source.name
    return Path(name).name if Path(name).is_absolute() else name
