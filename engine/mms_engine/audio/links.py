"""Reading of all containers that are joined in a file, or of one that arrives over a pipe.

Chained Ogg, MP3s joined with their tags, and files of any kind appended to each other are read to
the end; each container is decoded by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from mms_engine.audio import containers
from mms_engine.audio.block import Block, Report, Undecodable, check_channels
from mms_engine.audio.containers import WavLayout
from mms_engine.audio.decoder import ContainerDecoder
from mms_engine.audio.input import AudioInput, Splice
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.timeline import Timeline
from mms_engine.errors import AudioError


def decode(source: AudioInput, options: ReadOptions, report: Report) -> Iterator[Block]:
    """Yield the audio of all containers that are joined in a file, in time.

    Raises:
        Undecodable: FFmpeg does not know the format, or finds no samples.
        AudioError: it has no audio track or not the chosen one, an unknown codec or too many
            channels; or audio is missing, unless that is allowed.
    """
    timeline = Timeline(report)
    start: int | None = 0
    while start is not None:
        link = _Link.at(source, start)
        if link.wav is not None:
            _check_wav(link.wav, options, report.name)
        decoder = ContainerDecoder(link.content, timeline, report)
        try:
            yield from decoder.decode(options, is_first=start == 0, is_pcm=link.is_pcm)
        except Undecodable:
            if timeline.seconds == 0.0:
                raise
            following = _following(source, start, link, decoder)
        else:
            following = _following(source, start, link, decoder)
            decoder.finish(link.missing_bytes, is_followed=following is not None)
        start = following


def _following(
    source: AudioInput, start: int, link: "_Link", decoder: ContainerDecoder
) -> int | None:
    """Return the offset of the next container, `None` if there is none."""
    if decoder.joined_at is not None:
        return start + decoder.joined_at
    behind = link.end if link.end < source.size else start + max(decoder.covered, 1)
    return containers.next_container(source, behind)


@dataclass(frozen=True, slots=True)
class _Link:
    """One of the containers that are joined in a file."""

    content: Splice
    end: int
    """Offset behind it, as far as its headers tell."""
    missing_bytes: int = 0
    """Bytes of audio that its header declares behind the end of the file."""
    wav: WavLayout | None = None

    @property
    def is_pcm(self) -> bool:
        """Whether it is known to hold PCM."""
        return self.wav is not None and self.wav.is_pcm

    @classmethod
    def at(cls, source: AudioInput, start: int) -> "_Link":
        """Return the container that begins at an offset."""
        beginning = source.at(start, 8)
        wav = containers.wav_layout(source, start)
        end, missing = source.size, 0
        if beginning[:4] == b"OggS":
            end = containers.ogg_link_end(source, start)
        elif beginning[4:] == b"ftyp":
            end = containers.mp4_link_end(source, start)
        elif beginning[:4] == b"caff":
            missing = containers.caf_missing_bytes(source, start)
        if wav is None:
            return cls(Splice(source, b"", (start, end)), end, missing)
        if wav.is_plain:
            return cls(Splice(source, b"", (start, end)), wav.end, wav.missing_bytes, wav)
        return cls(Splice(source, wav.header, *wav.ranges), wav.end, wav.missing_bytes, wav)


def decode_pipe(pipe: IO[bytes], options: ReadOptions, report: Report) -> Iterator[Block]:
    """Yield the audio of a container as it arrives.

    Raises:
        Undecodable: as for `decode`, or the container can only be read with seeking.
        AudioError: as for `decode`.
    """
    decoder = ContainerDecoder(pipe, Timeline(report), report)
    yield from decoder.decode(options)
    decoder.finish()


def _check_wav(layout: WavLayout, options: ReadOptions, name: str) -> None:
    """Check the numbers of a WAV header that FFmpeg refuses without a reason.

    Raises:
        AudioError: the sample rate or the number of channels is impossible.
    """
    if not 0 < layout.sample_rate < 2**31:
        raise AudioError(f"{name} declares an impossible sample rate: its header is wrong")
    if not layout.channels:
        raise AudioError(f"{name} declares no channels: its header is wrong")
    check_channels(name, layout.channels, options.limits)
