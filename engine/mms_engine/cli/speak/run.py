"""Run of `mms speak`: text in, audio out, as both come."""

import codecs
import contextlib
import os
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, get_args

import click

from mms_engine.audio.write import AudioWriter
from mms_engine.backends.options import RunOptions
from mms_engine.cli.options import find_bundle
from mms_engine.cli.progress import Bar, open_with_bar
from mms_engine.errors import AudioError, LanguageError, TextError
from mms_engine.formats import TIMED_FORMATS, render
from mms_engine.formats.output import Input, check_output, open_output
from mms_engine.languages import all_languages, resolve
from mms_engine.tts.options import SpeechOptions, SynthesizerOptions
from mms_engine.tts.synthesizer import Synthesizer
from mms_engine.types import (
    Audio,
    AudioFormat,
    Float32Array,
    Spoken,
    SpokenNumbers,
    Transcript,
    Word,
)

_STDIN = "-"
_STDOUT = "/dev/stdout"
_BLOCK = 1 << 14
_NAMED = 5
"""Voices that an error names."""
_Sink = Callable[[Float32Array], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Arguments of the command line."""

    text: str | None
    lang: str | None
    list_voices: bool
    speed: float
    seed: int
    noise_scale: float | None
    noise_scale_duration: float | None
    file: Path | None
    numbers: SpokenNumbers
    numbers_language: str | None
    map_look_alikes: bool
    pause_scale: float
    output: str | None
    audio_format: AudioFormat | None
    play: bool
    timings: str | None
    bundle: Path | None
    engine: RunOptions

    def options(self) -> SpeechOptions:
        """Return the options of the speech."""
        return SpeechOptions(
            speed=self.speed,
            seed=self.seed,
            noise_scale=self.noise_scale,
            noise_scale_duration=self.noise_scale_duration,
            numbers=self.numbers,
            numbers_language=self.numbers_language,
            map_look_alikes=self.map_look_alikes,
            pause_scale=self.pause_scale,
            by_part=self.text == _STDIN,
        )

    @property
    def audio_path(self) -> str | None:
        """Path of the audio; `None` if it is only played."""
        return _STDOUT if self.output == "-" else self.output

    @property
    def timings_path(self) -> str | None:
        """Path of the times of the words; `None` for none."""
        if self.timings is None:
            return None
        if self.output is None:
            return _STDOUT
        suffix = ".json" if self.timings == "json" else TIMED_FORMATS[self.timings].suffix
        return os.fspath(Path(self.output).with_suffix(suffix))

    @property
    def format(self) -> AudioFormat:
        """Format of the audio."""
        if self.audio_format is not None:
            return self.audio_format
        suffix = Path(self.output or "").suffix.lower().removeprefix(".")
        known: dict[str, AudioFormat] = {name: name for name in get_args(AudioFormat)}
        known["opus"] = "ogg"
        if suffix and suffix not in known:
            raise click.UsageError(
                f"cannot tell the format of {self.output!r}: name it .wav, .flac, .mp3, .ogg or "
                ".aac, or choose one with --format"
            )
        return known.get(suffix, "wav")


def run(request: Request) -> None:
    """Speak.

    Raises:
        click.UsageError: the arguments contradict each other.
        MmsError: the text cannot be spoken, or the audio not be written.
    """
    options = SynthesizerOptions(
        device=request.engine.device,
        backend=request.engine.backend,
        precision=request.engine.precision,
        threads=request.engine.threads,
        verify=request.engine.verify,
    )
    if not request.list_voices:
        _check(request)
    bundle = find_bundle(request.bundle, "demo-voice")
    opened = open_with_bar(bundle, lambda: Synthesizer.open(bundle, options=options))
    with opened as synthesizer:
        if request.list_voices:
            click.echo("\n".join(map(_described, synthesizer.voices)))
            return
        if notice := synthesizer.bundle.manifest.source.notice:
            click.echo(notice, err=True)
        voice = request.lang and _voice(request.lang, synthesizer)
        report = _Report(keep=request.timings is not None)
        chunks = synthesizer.speak(
            _parts(request),
            voice,
            options=request.options(),
            on_sentence=report.add,
            live=request.play or request.output == "-",
        )
        seconds = _write(request, chunks, synthesizer.sample_rate, report)
        report.finish()
        if request.timings_path is not None:
            _write_timings(request, report.sentences, seconds, voice or synthesizer.voices[0])


def _voice(language: str, synthesizer: Synthesizer) -> str:
    """Return the voice of a code or name.

    Raises:
        LanguageError: the bundle has none, or several; the message says which it has.
    """
    voices, path = synthesizer.voices, synthesizer.bundle.path
    try:
        return resolve(language, voices)
    except LanguageError as error:
        count = f"{len(voices)} voice{'s' * (len(voices) != 1)}"
        names = ", ".join(voices[:_NAMED]) + (", …" if len(voices) > _NAMED else "")
        raise LanguageError(
            f"{error}; {path} has {count}, {names}: choose another bundle with --bundle, or add a "
            "voice with mms-export"
        ) from error


def _check(request: Request) -> None:
    """Check the arguments before anything is loaded."""
    if (request.text is None) == (request.file is None):
        raise click.UsageError("give a TEXT, - for standard input, or --file, and only one of them")
    if request.output is None and not request.play:
        raise click.UsageError("choose a file with --output, or --play")
    if request.timings and request.output == "-":
        raise click.UsageError("--timings needs a file as --output, standard output has the audio")
    inputs = _inputs(request)
    for path in (request.audio_path, request.timings_path):
        if path is not None:
            check_output(path, inputs=inputs)
    if request.output is not None:
        _ = request.format
        if request.timings_path == request.audio_path:
            raise click.UsageError("--timings would replace the audio, choose another --output")


def _inputs(request: Request) -> list[Input]:
    if request.file is not None:
        return [request.file]
    return [0] if request.text == _STDIN else []


def _parts(request: Request) -> Iterator[str]:
    """Yield the text as it comes.

    Raises:
        TextError: it cannot be read, or is not UTF-8.
    """
    if request.text not in (None, _STDIN):
        yield str(request.text)
    elif request.file is not None:
        with request.file.open("rb") as stream:
            pieces = iter(lambda: stream.read(_BLOCK), b"")
            yield from _decoded(pieces, str(request.file))
    else:
        yield from _decoded(iter(sys.stdin.buffer.readline, b""), "standard input")


def _decoded(pieces: Iterator[bytes], name: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1
    try:
        for piece in pieces:
            yield decoder.decode(piece)
            line += piece.count(b"\n")
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        raise TextError(
            f"{name}, line {line}: not UTF-8; convert it, for example with iconv -f latin1 -t utf-8"
        ) from error
    except OSError as error:
        raise TextError(f"cannot read {name}: {error.strerror}") from error


def _write(
    request: Request, chunks: Generator[Audio, None, None], rate: int, report: "_Report"
) -> float:
    """Write and play the chunks; return their seconds."""
    samples = 0
    with contextlib.ExitStack() as stack:
        stack.callback(chunks.close)
        sinks: list[_Sink] = []
        if request.audio_path is not None:
            inputs = _inputs(request)
            file: IO[bytes] = stack.enter_context(
                open_output(request.audio_path, inputs=inputs, binary=True)
            )
            sinks.append(stack.enter_context(AudioWriter(file, rate, request.format)).write)
        if request.play:
            sinks.append(stack.enter_context(_player(rate)))
        bar = report.bar = stack.enter_context(Bar())
        for chunk in chunks:
            for sink in sinks:
                sink(chunk.samples)
            samples += chunk.samples.size
            bar.advance(chunk.seconds)
    return samples / rate


@contextlib.contextmanager
def _player(rate: int) -> Iterator[_Sink]:
    """Open the loudspeaker.

    Raises:
        AudioError: there is none, or its package is missing.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise AudioError(
            f"playing needs the package sounddevice and the library PortAudio ({error}): "
            "pip install 'mms-engine[mic]', and on Debian apt install libportaudio2"
        ) from error
    try:
        stream = sounddevice.OutputStream(samplerate=rate, channels=1, dtype="float32")
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the loudspeaker cannot be opened: {error}") from error
    with contextlib.closing(stream), stream:
        yield lambda samples: stream.write(samples[:, None])
        stream.stop()  # after what is buffered


@dataclass(slots=True)
class _Report:
    """Warnings and times of the sentences."""

    keep: bool
    """Whether the sentences are kept, for their times."""
    bar: Bar = field(default_factory=Bar)
    sentences: list[Spoken] = field(default_factory=list)
    _named: set[str] = field(default_factory=set)
    _lost: int = 0
    _silent: int = 0

    def add(self, sentence: Spoken) -> None:
        """Print a warning of a sentence, unless all its characters were named before."""
        if self.keep:
            self.sentences.append(sentence)
        lost = [one for one in sentence.dropped if one.is_loss]
        self._lost += sum(len(one.text) for one in lost)
        new = {c for one in lost for c in one.text} - self._named
        if new:
            self._named |= new
            with self.bar.paused():
                click.echo(f"Warning: {'; '.join(sentence.warnings)}", err=True)
        elif lost:
            self._silent += 1

    def finish(self) -> None:
        """Print how much was left out, if not all of it was named."""
        if self._silent:
            click.echo(f"Warning: {self._lost} characters were not spoken in all", err=True)


def _write_timings(request: Request, sentences: list[Spoken], seconds: float, voice: str) -> None:
    import msgspec

    if request.timings == "json":
        document = {
            "audio": request.output,
            "voice": voice,
            "seconds": seconds,
            "sentences": msgspec.to_builtins(sentences),
        }
        content = msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n"
    else:
        words = tuple(
            Word(word.text, word.start, word.end, 1.0)
            for sentence in sentences
            for word in sentence.words
        )
        text = " ".join(sentence.text for sentence in sentences)
        transcript = Transcript(text, voice, words, seconds, 1.0)
        name = Path(request.output or "speech").stem
        media = request.output or ""
        content = render(transcript, name, format_name=request.timings or "srt", media=media)
    with open_output(request.timings_path or _STDOUT, inputs=_inputs(request)) as stream:
        stream.write(content)


def _described(code: str) -> str:
    name = next((one.name for one in all_languages("tts") if one.code == code), "")
    return f"{code}  {name}".rstrip()
