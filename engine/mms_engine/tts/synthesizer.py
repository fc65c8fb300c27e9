"""Synthesizer: speech of texts of any length with the voices of one bundle."""

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Self

import numpy as np

from mms_engine.backends.options import with_given
from mms_engine.bundle import Bundle, open_bundle
from mms_engine.bundle.voices import Voice
from mms_engine.errors import BundleError, LanguageError
from mms_engine.text.reading import Reader
from mms_engine.text.sentences import sentences
from mms_engine.text.tokenizer import VoiceText
from mms_engine.tts.models import VoiceModel, VoiceModels
from mms_engine.tts.options import SpeechOptions, SynthesizerOptions
from mms_engine.tts.stream import SpeechStream
from mms_engine.types import Audio, BackendName, Device, Dropped, Precision, Speech, Spoken

OnSentence = Callable[[Spoken], object]


class Synthesizer:
    """Speech synthesis of one bundle. May be used from several threads at once.

    The graphs are loaded once; a voice is data, read on its first use and kept while there is
    room. Samples depend on the text, the voice and the options alone, not on order, threads or how
    the text is divided into parts.
    """

    def __init__(self, bundle: Bundle, models: VoiceModels) -> None:
        """Take over models. Callers use `open`."""
        self.bundle = bundle
        """The open bundle."""
        self._models = models

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        *,
        device: Device | None = None,
        backend: BackendName | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
        options: SynthesizerOptions | None = None,
    ) -> Self:
        """Open a bundle.

        Args:
            bundle: Folder that mms-export wrote, of voices such as facebook/mms-tts-eng.
            device: `auto`, `cpu` or `cuda`.
            backend: Library that runs the graphs; by default the first usable one.
            precision: Precision of the graphs; by default the best for the device.
            threads: Threads of one text on a CPU; by default every usable core.
            options: All options; those given above take precedence.

        Raises:
            BundleError: it is missing, damaged, of another task, or lacks the precision.
            BackendError: no backend here can run it.
        """
        chosen = with_given(
            options or SynthesizerOptions(),
            device=device,
            backend=backend,
            precision=precision,
            threads=threads,
        )
        opened = open_bundle(Path(bundle), verify=chosen.verify)
        return cls(opened, VoiceModels(opened, chosen))

    def __repr__(self) -> str:
        return f"Synthesizer({self.bundle!r}, {self._models.main.graphs.device})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def voices(self) -> tuple[str, ...]:
        """Codes of the voices, sorted."""
        return self.bundle.languages

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return self.bundle.manifest.sample_rate

    def close(self) -> None:
        """Free the graphs and the voices. May be called twice."""
        self._models.close()

    def preload(self, voices: Iterable[str]) -> None:
        """Read voices before their first use, as far as there is room.

        Raises:
            LanguageError, BundleError: a voice cannot be read.
        """
        wanted: dict[VoiceModel, list[str]] = {}
        for voice in voices:
            wanted.setdefault(self._models.of(voice), []).append(voice)
        for model, codes in wanted.items():
            model.bank.prefetch(codes)

    def speak(
        self,
        text: str | Iterable[str],
        voice: str | None = None,
        *,
        speed: float | None = None,
        seed: int | None = None,
        noise_scale: float | None = None,
        noise_scale_duration: float | None = None,
        options: SpeechOptions | None = None,
        on_sentence: OnSentence | None = None,
        live: bool = True,
    ) -> Generator[Audio, None, None]:
        """Yield the audio of a text in chunks, the first as soon as it is made.

        A sentence is planned whole and decoded in chunks of 4, 8, 16 and then 64 frames (16 ms
        each for MMS), while the next sentence is planned. Memory does not grow with the text.
        Joined, the chunks are the samples of `synthesize`.

        Args:
            text: The text, or its parts as they come, such as the lines of a file. It may have
                pauses: `<break time="500ms"/>`.
            voice: Code of the voice; not needed if the bundle has only one.
            speed: Speed of the speech, 0.25 to 4.
            seed: Seed of the noise, 0 or more.
            noise_scale: Scale of the latents' noise.
            noise_scale_duration: Scale of the durations' noise.
            options: All options; those given above take precedence.
            on_sentence: Called with each sentence before its first audio, with its times, words
                and dropped characters.
            live: Whether somebody waits for each chunk. If not, as for a file, chunks are of 256
                frames on a CPU, with a fifth less to compute and the same samples.

        Raises:
            ValueError: an option is out of range.
            LanguageError: the bundle does not have the voice, or has several and none is named; or
                numbers are not read in the language of the options.
            TextError: nothing of the text can be spoken, or it is not valid.
            BundleError: the voice is damaged, or needs phonemes.
            BackendError: the device failed.
        """
        chosen = with_given(
            options or SpeechOptions(),
            speed=speed,
            seed=seed,
            noise_scale=noise_scale,
            noise_scale_duration=noise_scale_duration,
        )
        code = self._code(voice)
        return self._speak(text, code, chosen, on_sentence, streams=live)

    def _speak(
        self,
        text: str | Iterable[str],
        code: str,
        options: SpeechOptions,
        on_sentence: OnSentence | None,
        *,
        streams: bool,
    ) -> Generator[Audio, None, None]:
        voice = self._voice(code)
        reader = self._reader(voice, code, options)
        synthesis = self._models.of(code).synthesis
        stream = SpeechStream(synthesis, voice, code, reader, options, on_sentence)
        parts = [text] if isinstance(text, str) else text
        yield from stream.run(sentences(parts, code, by_part=options.by_part), streams=streams)

    def unspoken(
        self, text: str, voice: str | None = None, *, options: SpeechOptions | None = None
    ) -> tuple[Dropped, ...]:
        """Return the characters that the speech of a text would lack, in order.

        Raises:
            LanguageError, TextError, BundleError: as for `speak`.
        """
        chosen, code = options or SpeechOptions(), self._code(voice)
        reader = self._reader(self._voice(code), code, chosen)
        found = sentences([text], code, by_part=chosen.by_part)
        return tuple(one for sentence in found for one in reader.read(sentence).lost)

    def _voice(self, code: str) -> Voice:
        with self._models.of(code).bank.acquire([code]) as residents:
            return residents[code].info

    def _reader(self, voice: Voice, code: str, options: SpeechOptions) -> Reader:
        return Reader(
            _voice_text(voice, self.bundle, code),
            code,
            numbers=options.numbers,
            numbers_language=options.numbers_language,
            map_look_alikes=options.map_look_alikes,
        )

    def synthesize(
        self,
        text: str | Iterable[str],
        voice: str | None = None,
        *,
        speed: float | None = None,
        seed: int | None = None,
        noise_scale: float | None = None,
        noise_scale_duration: float | None = None,
        options: SpeechOptions | None = None,
    ) -> Speech:
        """Return the whole audio of a text, with the times of its words; see `speak`."""
        spoken: list[Spoken] = []
        chosen = with_given(
            options or SpeechOptions(),
            speed=speed,
            seed=seed,
            noise_scale=noise_scale,
            noise_scale_duration=noise_scale_duration,
        )
        code = self._code(voice)
        chunks = self._speak(text, code, chosen, spoken.append, streams=False)
        samples = np.concatenate([chunk.samples for chunk in chunks])
        return Speech(samples, self.sample_rate, code, tuple(spoken))

    def _code(self, voice: str | None) -> str:
        """Return the code of a voice as the manifest writes it."""
        if voice is None:
            if len(self.voices) != 1:
                names = ", ".join(self.voices[:5])
                more = ", …" if len(self.voices) > 5 else ""
                raise LanguageError(
                    f"{self.bundle.path} has {len(self.voices)} voices: name one of {names}{more}"
                )
            return self.voices[0]
        self.bundle.entry(voice)
        return voice


def _voice_text(voice: Voice, bundle: Bundle, code: str) -> VoiceText:
    """Return the fields of a voice's tokenizer.

    Raises:
        BundleError: it needs phonemes.
    """
    if voice.phonemize:
        raise BundleError(
            f"the voice {code} of {bundle.path} speaks phonemes, which this release does not make: "
            "choose a voice of letters, as those of MMS are"
        )
    return VoiceText(
        vocabulary=voice.vocabulary,
        language=voice.tokenizer_language,
        add_blank=voice.add_blank,
        normalize=voice.normalize,
        is_uroman=voice.is_uroman,
    )
