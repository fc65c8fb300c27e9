"""Resolution of a session's configuration into a stream of the engine."""

from dataclasses import dataclass

from msgspec import UNSET

from mms_engine.asr.streaming.language import AUTO
from mms_engine.asr.streaming.options import EndpointOptions, StreamOptions
from mms_engine.serve.errors import ApiError, invalid
from mms_engine.serve.hotwords import hotwords
from mms_engine.serve.languages import language_code
from mms_engine.serve.models import Models, SpeechModel
from mms_engine.serve.realtime.configuration import (
    DETAILS,
    ALaw,
    Configuration,
    MuLaw,
    Pcm,
    SemanticVad,
    Transcription,
)
from mms_engine.types import Latency, SampleFormat

LATENCIES: dict[str, Latency] = {
    "minimal": "low",
    "low": "low",
    "medium": "balanced",
    "high": "accurate",
    "xhigh": "accurate",
}
"""Latency of each `delay`."""
PAUSES = {"low": 2.0, "medium": 1.2, "auto": 1.2, "high": 0.6}
"""Pause that ends a turn by `eagerness`, in seconds."""
_G711_RATE = 8_000
_LONGEST_TURN_SECONDS = 60.0
_PATH = "session.audio.input.transcription."


@dataclass(frozen=True, slots=True)
class Plan:
    """Stream of the engine that a configuration asks for."""

    model: SpeechModel
    language: str | None
    """Code, `auto` or `auto:eng,fra`; `None` where it must be given and was not."""
    options: StreamOptions
    is_manual: bool
    """Whether the client ends turns by itself."""
    prefix_seconds: float = 0.0
    """Time before the first word that a turn begins."""
    idle_seconds: float | None = None
    """Audio without speech after which an empty turn is committed."""

    @property
    def is_identified(self) -> bool:
        """Whether the stream finds its language."""
        return self.language is not None and self.language.startswith(AUTO)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample."""
        return 2 if self.options.sample_format == "s16le" else 1


def plan(configuration: Configuration, models: Models) -> Plan:
    """Return the stream of a configuration.

    Raises:
        ApiError: 400 or 404; the model, a language or the phrases cannot be used.
    """
    given = configuration.audio.input.transcription
    model = models.speech[0]
    if given.model is not UNSET and given.model:
        model = _model(given.model, models)
    turns = configuration.turns
    endpoints, prefix, idle = None, 0.0, None
    if isinstance(turns, SemanticVad):
        endpoints = _endpoints(PAUSES[turns.eagerness])
    elif turns is not None:
        endpoints = _endpoints(turns.silence_duration_ms / 1000)
        prefix = turns.prefix_padding_ms / 1000
        idle = None if turns.idle_timeout_ms is UNSET else turns.idle_timeout_ms / 1000
    sample_format, sample_rate = _samples(configuration.audio.input.format)
    options = StreamOptions(
        sample_format=sample_format,
        sample_rate=sample_rate,
        latency=LATENCIES[given.delay] if given.delay is not UNSET else "balanced",
        tentative=configuration.includes(DETAILS),
        hotwords=_hotwords(given) or None,
        endpoints=endpoints,
    )
    language = _language(given, model, models)
    return Plan(model, language, options, endpoints is None, prefix, idle)


def _model(name: str, models: Models) -> SpeechModel:
    try:
        return models.find(name)
    except ApiError as error:
        raise ApiError(404, error.message, code=error.code, param=_PATH + "model") from error


def _samples(given: Pcm | MuLaw | ALaw) -> tuple[SampleFormat, int]:
    if isinstance(given, Pcm):
        return "s16le", given.rate
    return ("mulaw" if isinstance(given, MuLaw) else "alaw"), _G711_RATE


def _endpoints(pause_seconds: float) -> EndpointOptions:
    return EndpointOptions(pause_seconds=pause_seconds, max_seconds=_LONGEST_TURN_SECONDS)


def _hotwords(given: Transcription) -> tuple[str, ...]:
    keywords = () if given.keywords is UNSET else given.keywords
    prompt = "" if given.prompt is UNSET else given.prompt
    return hotwords(keywords, prompt, _PATH + "keywords")


def _language(given: Transcription, model: SpeechModel, models: Models) -> str | None:
    wanted = "" if given.language is UNSET else given.language.strip()
    if wanted and wanted.lower() != AUTO:
        return language_code(wanted, model.languages, _PATH + "language")
    several = () if given.languages is UNSET else given.languages
    codes = [
        language_code(one, model.languages, _PATH + "languages")
        for one in several
        if one.strip() and one.strip().lower() != AUTO
    ]
    among = tuple(dict.fromkeys(codes or model.languages))
    if len(among) == 1:
        return among[0]
    if models.identifier is None:
        if codes:
            message = "this server cannot identify languages: give one"
            raise invalid(message, _PATH + "languages", "unsupported_value")
        return None
    return f"{AUTO}:{','.join(among)}" if codes else AUTO
