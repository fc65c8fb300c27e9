"""Recognition of audio among the files of a folder."""

from pathlib import Path

from mms_engine.audio.decoder import DEMUXER_OPTIONS

_AUDIO = (
    "3ga 722 aa aa3 aac aax ac3 ac4 adts adx aea aif aifc aiff al alac amr ape apl au awb c2 "
    "caf dff dsf dss dts dtshd eac3 ec3 f4a flac g722 g723_1 g728 g729 gsm iamf ircam isma "
    "lc3 loas m2a m4a m4b m4r mac mka mlp mp1 mp2 mp3 mpa mpc mpga msbc nist oga ogg oma omg "
    "opus pvf qcp qoa ra rco sbc sds sf shn sln snd sox sph spx tak tco thd tta ul voc w64 "
    "wav wave weba wma wv xwma"
)
_VIDEO = (
    "3g2 3gp 3gpp asf avi divx f4v flv gxf ism ismv m1v m2t m2ts m2v m4v mj2 mk3d mkv mov mp4 mpe "
    "mpeg mpg mts mxf nut ogm ogv ogx psp qt rm rmvb ts vob webm wmv wtv"
)
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _AUDIO.split())
"""Suffixes of audio files, in lower case."""
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEO.split())
"""Suffixes of video files, in lower case; some have no sound."""


def contains_audio(path: Path) -> bool | None:
    """Return whether a file has an audio track; `None` if FFmpeg cannot open it."""
    import av  # slow to import

    try:
        with (
            path.open("rb") as stream,
            av.open(stream, "r", options=DEMUXER_OPTIONS, metadata_errors="replace") as container,
        ):
            return bool(container.streams.audio)
    except (av.FFmpegError, OSError, ValueError):
        return None


def is_recording(path: Path) -> bool:
    """Return whether a file should be transcribed.

    That is any audio by its suffix, even if it turns out to be damaged; any video that has an audio
    track or cannot be opened; and any other file in which FFmpeg finds an audio track.
    """
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return True
    found = contains_audio(path)
    return suffix in VIDEO_SUFFIXES if found is None else found
