"""Models and voices as Wyoming's clients see them, and the ones that they ask for."""

import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from wyoming.info import AsrModel, AsrProgram, Attribution, Info, TtsProgram, TtsVoice

from mms_engine.asr.streaming.language import AUTO
from mms_engine.bundle.manifest import Source
from mms_engine.errors import MmsError
from mms_engine.languages import (
    Language,
    all_languages,
    candidates,
    language_from_code,
    nearest,
)
from mms_engine.serve.config import WyomingConfig
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.languages import language_code
from mms_engine.serve.models import Models, SpeechModel, VoiceModel
from mms_engine.serve.wyoming.frames import event_bytes
from mms_engine.serve.wyoming.requests import VoiceChoice

PROGRAM = "mms"
"""Name of the program of recognition, and of that of speech."""


class Catalogue:
    """Models, languages and voices of a server, and their announcement."""

    def __init__(self, models: Models, config: WyomingConfig) -> None:
        """Choose what is announced.

        Raises:
            MmsError: a language or a voice of the configuration is not there.
        """
        self._models = models
        self._languages = {
            model.id: _chosen(config.languages, model.languages) for model in models.speech
        }
        self._voices = {model.id: _chosen(config.voices, model.voices) for model in models.voices}
        self._config = config
        _check("--wyoming-language", config.languages, [one.languages for one in models.speech])
        _check("--wyoming-voice", config.voices, [one.voices for one in models.voices])
        self.info = event_bytes(self._info().event())
        """The event `info`, whole."""

    def _info(self) -> Info:
        recognizers = [self._asr_model(one) for one in self._models.speech]
        voices = {
            voice.name: voice
            for one in reversed(self._models.voices)  # of a voice in two models, the first speaks
            for voice in self._tts_voices(one)
        }
        asr = AsrProgram(
            **_artifact(PROGRAM, "MMS Engine, speech recognition"),
            models=[one for one in recognizers if one.languages],
            supports_transcript_streaming=True,
        )
        tts = TtsProgram(
            **_artifact(PROGRAM, "MMS Engine, speech synthesis"),
            voices=list(voices.values()),
            supports_synthesize_streaming=True,
        )
        return Info(asr=[asr] if asr.models else [], tts=[tts] if voices else [])

    def _asr_model(self, model: SpeechModel) -> AsrModel:
        codes = self._languages[model.id]
        source = model.recognizer.bundle.manifest.source
        return AsrModel(
            **_artifact(model.id, f"{model.id}, {len(codes)} languages", source),
            languages=_announced(codes, model.languages),
        )

    def _tts_voices(self, model: VoiceModel) -> list[TtsVoice]:
        source = model.synthesizer.bundle.manifest.source
        return [
            TtsVoice(**_artifact(code, _description(code), source), languages=_names(code))
            for code in self._voices[model.id]
        ]

    def recognition(self, name: str | None, language: str | None) -> tuple[SpeechModel, str]:
        """Return the model and the language for an utterance.

        Args:
            name: Name of a model; `None` or empty for the first that has the language.
            language: Code or name in any system; `None` or empty to identify it, where the server
                can.

        Returns:
            Model and code of it, `auto`, or `auto:` and the announced languages.

        Raises:
            ApiError: 400 or 404.
        """
        first = self._models.find(name or "")
        models = [first] if name else self._models.speech
        if language:
            for model in models:
                if found := _candidate(language, model.languages):
                    return model, found
            return first, language_code(language, first.languages)  # it names the nearest
        model = next((one for one in models if self._languages[one.id]), first)
        among = self._languages[model.id] or model.languages
        if len(among) == 1:
            return model, among[0]
        if self._models.identifier is None:
            message = "no language was given, and this server has no bundle to identify it"
            raise invalid(f"{message}: give one of {', '.join(among[:5])}", "language")
        return model, f"{AUTO}:{','.join(among)}" if self._config.languages else AUTO

    def voice(self, choice: VoiceChoice | None) -> tuple[str, int]:
        """Return the voice that is asked for by name or language, or the default, and its rate.

        Raises:
            ApiError: 400 or 404; there is none.
        """
        model, code = self._models.find_voices()
        given = choice and (choice.name or choice.speaker or choice.language)
        given = given or next(iter(self._config.voices), None)
        if given:
            model, code = self._find_voice(given)
        return code, model.synthesizer.sample_rate

    def _find_voice(self, given: str) -> tuple[VoiceModel, str]:
        """Return a voice of a name or a language; of several dialects or scripts, the first."""
        for model in self._models.voices:
            if found := _candidate(given, model.voices) or next(
                iter(candidates(given, model.voices)), None
            ):
                return model, found
        first = self._models.voices[0]
        return first, language_code(given, first.voices, "voice")  # it names the nearest


def _artifact(name: str, description: str, source: Source | None = None) -> dict[str, Any]:
    """Return the fields that programs, models and voices have in common."""
    author = "MMS Engine" if source is None else source.name
    is_hub = author.startswith("facebook/")
    return {
        "name": name,
        "attribution": Attribution(author, f"https://huggingface.co/{author}" if is_hub else ""),
        "installed": True,
        "description": description,
        "version": version("mms-engine"),
    }


def _announced(codes: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names of languages, each of which stands for one of them in a request."""
    return [
        name
        for code in codes
        for name in _names(code)
        if name == code or _candidate(name, known) == code
    ]


def _names(code: str) -> list[str]:
    """Return the BCP 47 tag, which Home Assistant matches, the ISO 639-1 code and the code."""
    found = _table(code)
    return list(dict.fromkeys(filter(None, (found.tag, found.iso1, code))))


def _table(code: str) -> Language:
    return _by_code().get(code) or language_from_code(code)


@functools.cache
def _by_code() -> dict[str, Language]:
    return {language.code: language for language in all_languages()}


def _description(code: str) -> str:
    language = _table(code)
    variant = language.script or language.dialect
    name = ", ".join(filter(None, (language.name, variant)))
    return f"{name} ({code})" if name else code


def _chosen(given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the codes of a subset, in the order given; all for no subset."""
    if not given:
        return tuple(known)
    found = (_candidate(one, known) for one in given)
    return tuple(dict.fromkeys(code for code in found if code))


def _candidate(given: str, known: Sequence[str]) -> str | None:
    try:
        return language_code(given, known)
    except ApiError:
        return None


def _check(option: str, given: Sequence[str], known: Sequence[Sequence[str]]) -> None:
    """Check that each member of a subset is there.

    Raises:
        MmsError: one is not.
    """
    for one in given:
        if not any(_candidate(one, codes) for codes in known):
            nearest_codes = ", ".join(nearest(one, [code for codes in known for code in codes]))
            hint = f": did you mean {nearest_codes}?" if nearest_codes else ""
            raise MmsError(f"{option} {one}: no bundle has it{hint}")
