"""Puts a stream together."""

from mms_engine.decoders import HostDecoders
from mms_engine.streaming.core import Parts, StreamCore
from mms_engine.streaming.model import StreamingModel
from mms_engine.streaming.options import StreamOptions
from mms_engine.streaming.utterance import Spoken
from mms_engine.streaming.voice import Voice, load_silero


def open_core(
    model: StreamingModel, decoders: HostDecoders, language: str, options: StreamOptions
) -> StreamCore:
    """Return a stream at its beginning.

    Raises:
        LanguageError: the bundle does not have the language.
        BundleError: its adapter is damaged, or the graph `cached` is missing.
        BackendError: silero-vad is asked for and not there.
        LanguageModelError: hotwords or the language model do not fit the language.
    """
    acoustic = model.acoustic
    vocabulary = acoustic.vocabulary(language)
    spoken = Spoken(
        language,
        vocabulary,
        lambda: decoders.start(language, vocabulary, options.hotwords),
        frame_seconds=acoustic.frame_seconds,
    )
    voice = _voice(model, options)
    parts = Parts(
        language=language,
        geometry=acoustic.geometry,
        sample_rate=acoustic.bundle.manifest.sample_rate,
        context=model.context(options.contexts),  # last: it may hold memory of a device
        spoken=spoken,
        voice=voice,
        normalize=acoustic.bundle.manifest.normalize,
        nbest=decoders.nbest,
    )
    return StreamCore(parts, options)


def _voice(model: StreamingModel, options: StreamOptions) -> Voice | None:
    if options.endpoints is None or options.endpoints.vad != "silero":
        return None
    geometry = model.acoustic.geometry
    return Voice(load_silero(), geometry.stride, geometry.receptive_field)
