"""Files of kinds that users brought: odd sizes, chains, time stamps, tracks and channels."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from mms_engine.audio import AudioLimits, read_audio
from mms_engine.audio.containers import is_container
from mms_engine.types import Span
from sounds import encode, noise, refusal, tone, wav
from sweep_sounds import KINDS, ONSETS, SECONDS, onsets, write

FIELD_CASES = Path(__file__).parents[3] / "shared" / "field-cases"
needs_field_cases = pytest.mark.skipif(
    not FIELD_CASES.is_dir(), reason="needs ../shared/field-cases, which is not there"
)


def kind(name):
    return next(kind for kind in KINDS if kind.name == name)


def read_whole(path):
    """Read a file that is complete: nothing is missing and nothing remarked."""
    audio = read_audio(path)
    assert audio.missing == ()
    assert audio.warnings == ()
    return audio


def chunk(name, content):
    return struct.pack("<4sI", name, len(content)) + content


SAMPLES = (10_000 * np.sin(np.arange(32_000) / 20)).astype("<i2")
"""2 s at 16 kHz."""


@pytest.mark.parametrize("claims", [0, 44, 16_000, 63_990, 64_002, 64_044, 0x7FFFFFFF, 0xFFFFFFFF])
def test_size_in_a_wav_header_is_a_hint(tmp_path, claims):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(SAMPLES.tobytes(), claims=claims))
    np.testing.assert_array_equal(read_whole(path).samples, SAMPLES / np.float32(2**15))


@pytest.mark.parametrize("between", [b"", chunk(b"LIST", b"INFOISFT\4\0\0\0abcd")])
def test_all_data_chunks_of_a_wav_are_read(tmp_path, between):
    path = tmp_path / "a.wav"
    half = SAMPLES[:16_001].tobytes(), SAMPLES[16_001:].tobytes()
    path.write_bytes(wav(half[0]) + between + chunk(b"data", half[1]))
    np.testing.assert_array_equal(read_whole(path).samples, SAMPLES / np.float32(2**15))


@pytest.mark.parametrize("is_padded", [True, False])
def test_chunks_behind_the_samples_are_no_samples(tmp_path, is_padded):
    path = tmp_path / "a.wav"
    data = bytes(range(256)) * 20 + b"\1"
    pad = b"\0" if is_padded else b""
    path.write_bytes(wav(data, bits=8) + pad + chunk(b"LIST", b"INFOISFT\4\0\0\0abcd"))
    assert read_whole(path).samples.size == len(data)


def test_flac_of_unknown_length(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, SAMPLES, 16_000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of the number of samples in STREAMINFO
    content[22:26] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_whole(path).samples, SAMPLES / np.float32(2**15))


@pytest.mark.parametrize("name", ["tagged.mp3", "a.ogg", "a.opus", "a.flac", "pcm.wav"])
def test_zeros_behind_the_audio(tmp_path, name):
    path = write(tmp_path / name, kind(name))
    seconds = read_whole(path).seconds
    path.write_bytes(path.read_bytes() + bytes(5000))
    audio = read_audio(path)
    assert audio.missing == ()
    # FFmpeg keeps an MP3's padding where the size of the file is not that of its header.
    assert audio.seconds == pytest.approx(seconds, abs=0.04)


def test_links_of_an_ogg_chain_may_differ_in_codec_rate_and_channels(tmp_path):
    pieces = [
        encode(tmp_path / "a.opus", "libopus", tone(1.0, 48_000), 48_000),
        encode(tmp_path / "b.opus", "libopus", tone(1.0, 48_000), 48_000, layout="stereo"),
    ]
    for number, rate in enumerate((16_000, 44_100)):
        pieces.append(tmp_path / f"{number}.ogg")
        soundfile.write(pieces[-1], tone(1.0, rate), rate)
    path = tmp_path / "radio.ogg"
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    audio = read_whole(path)
    expected = np.concatenate([read_audio(piece).samples for piece in pieces])
    # The resampler continues where the rate stays, so the borders differ a little.
    np.testing.assert_allclose(audio.samples, expected, atol=5e-3)
    assert audio.seconds == pytest.approx(4.0, abs=0.04)


def test_joined_mp3s_with_tags_between_are_gapless(tmp_path):
    pieces = [encode(tmp_path / f"{n}.mp3", "libmp3lame", tone(1.0), 16_000) for n in range(3)]
    path = tmp_path / "all.mp3"
    path.write_bytes(b"".join(piece.read_bytes() + b"TAG".ljust(128, b"\0") for piece in pieces))
    expected = np.concatenate([read_audio(piece).samples for piece in pieces])
    assert abs(read_audio(path).samples.size - expected.size) <= 0.04 * 16_000


def test_sample_rate_and_channels_may_change_inside(tmp_path):
    pieces = [
        encode(tmp_path / "0.aac", "aac", tone(1.0), 16_000),
        encode(tmp_path / "1.aac", "aac", tone(1.0, 48_000), 48_000, layout="stereo"),
        encode(tmp_path / "2.aac", "aac", tone(1.0, 22_050), 22_050),
    ]
    path = tmp_path / "all.aac"
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    audio = read_whole(path)
    seconds = sum(read_audio(piece).seconds for piece in pieces)
    assert audio.seconds == pytest.approx(seconds, abs=0.04)
    loud = np.abs(audio.samples).reshape(-1)[: 3 * 16_000 - 1600].reshape(-1, 1600).max(axis=1)
    assert loud[2:].min() > 0.2


def test_damaged_packets_become_silence_in_their_time(tmp_path):
    path = write(tmp_path / "a.mp3", kind("bare.mp3"))
    content = bytearray(path.read_bytes())
    for part in (0.3, 0.55):
        start = round(part * len(content))
        content[start : start + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(content)
    assert "is damaged at 1.2" in refusal(path)
    audio = read_audio(path, allow_truncated=True)
    assert [round(span.start, 1) for span in audio.missing] == [1.2, 2.2]
    assert all(span.end - span.start < 0.1 for span in audio.missing)
    assert audio.warnings[-1].endswith(" s")
    assert "s of audio are missing: 1.2" in audio.warnings[-1]
    np.testing.assert_allclose(onsets(audio.samples), ONSETS, atol=0.04)


def test_flac_frame_with_a_wrong_checksum_is_silence(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(4.0), 16_000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert "is damaged at " in refusal(path)
    audio = read_audio(path, allow_truncated=True)
    assert audio.samples.size == 64_000
    (span,) = audio.missing
    assert not audio.samples[round(span.start * 16_000) : round(span.end * 16_000)].any()


def test_missing_end_is_a_span(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(SAMPLES.tobytes(), claims=2 * SAMPLES.nbytes))
    audio = read_audio(path, allow_truncated=True)
    assert audio.missing == (Span(2.0, 4.0),)
    assert audio.warnings == ("2.00 s of audio are missing: 2.00-4.00 s",)


def film_with_late_sound(path, codec, offset):
    """Write 5 s of video, with bursts from `offset` seconds on."""
    with av.open(str(path), "w") as output:
        picture = output.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        voice = output.add_stream(codec, rate=48_000, layout="mono")
        voice.codec_context.open()
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for number in range(50):
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(picture.encode(frame))
        output.mux(picture.encode(None))
        samples = noise(1.0, 48_000) * 0.1
        samples[24_000:28_800] += 0.4 * tone(0.1, 48_000, 500.0, 1.0)
        size = voice.codec_context.frame_size or 1024
        for start in range(0, len(samples), size):
            part = av.AudioFrame.from_ndarray(
                samples[None, start : start + size], format="fltp", layout="mono"
            )
            part.sample_rate, part.time_base = 48_000, Fraction(1, 48_000)
            part.pts = start + round(48_000 * offset)
            output.mux(voice.encode(part))
        output.mux(voice.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts", "a.mpg"])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_sound_that_begins_after_the_picture(tmp_path, name, offset):
    codec = "mp2" if name == "a.mpg" else "aac"
    path = film_with_late_sound(tmp_path / name, codec, offset)
    np.testing.assert_allclose(onsets(read_audio(path).samples), [offset + 0.5], atol=0.04)


def test_wrong_time_stamp_of_one_packet_is_ignored(tmp_path):
    path = write(tmp_path / "a.mka", kind("opus.mka"))
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        packet = [packet for packet in file.demux() if packet.size][100]
    at = content.find(bytes(packet)) - 3  # time of the block, relative to its cluster, in ms
    content[at : at + 2] = (30_000).to_bytes(2, "big")
    path.write_bytes(content)
    audio = read_audio(path)
    assert audio.seconds == pytest.approx(SECONDS, abs=0.1)
    np.testing.assert_allclose(onsets(audio.samples), ONSETS, atol=0.04)


def test_gap_of_hours_is_refused_before_memory_is_taken(tmp_path):
    path = write(tmp_path / "a.mka", kind("opus.mka"), lambda time: time + 40_000 * (time > 2))
    message = refusal(path, limits=AudioLimits(max_seconds=600))
    assert message.startswith("FILE is longer than 600 s, the limit")


def test_clock_of_a_broadcast_is_taken_for_zero(tmp_path):
    path = write(tmp_path / "a.mka", kind("opus.mka"), lambda time: time + 3600)
    audio = read_audio(path)
    assert audio.warnings == ("its time stamps begin at 3600 s, which is taken for 0",)
    np.testing.assert_allclose(onsets(audio.samples), ONSETS, atol=0.04)


@pytest.fixture
def two_tracks(tmp_path):
    """A film in a low and a high voice; the second is the default."""
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as output:
        tracks = [output.add_stream("flac", rate=16_000, layout="mono") for _ in range(2)]
        for track, language in zip(tracks, ("rus", "eng"), strict=True):
            track.metadata["language"] = language
        tracks[0].disposition = av.stream.Disposition(0)
        tracks[1].disposition = av.stream.Disposition.default
        for track, hertz in zip(tracks, (300.0, 2000.0), strict=True):
            sound = (tone(1.0, hertz=hertz) * 2**15).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
            fifo = av.AudioFifo()
            fifo.write(frame)
            while part := fifo.read(track.codec_context.frame_size or 4608, partial=True):
                output.mux(track.encode(part))
            output.mux(track.encode(None))
    return path


def pitch(audio):
    return int(np.abs(np.fft.rfft(audio.samples[:16_000])).argmax())


def test_default_track_is_read_and_the_choice_remarked(two_tracks):
    audio = read_audio(two_tracks)
    assert pitch(audio) == 2000
    assert audio.warnings == (
        "track 2 of 2 audio tracks is read (languages: rus, eng); choose another with --track",
    )


def test_chosen_track(two_tracks):
    for number, hertz in ((1, 300), (2, 2000)):
        audio = read_audio(two_tracks, track=number)
        assert pitch(audio) == hertz
        assert audio.warnings == ()
    message = refusal(two_tracks, track=3)
    assert message == "FILE has no track 3: its audio tracks are 1 to 2"


@pytest.mark.parametrize("weight", [1.0, 0.8])
def test_channels_of_opposite_phase_are_not_cancelled(tmp_path, weight):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([weight * tone(), -tone()], axis=1), 16_000, subtype="FLOAT")
    audio = read_audio(path)
    np.testing.assert_array_equal(np.abs(audio.samples), np.abs(tone()))
    assert len(audio.warnings) == 1
    assert audio.warnings[0].startswith(
        "its channels cancel out from 0 s (opposite phase): channel"
    )


def test_only_the_part_of_opposite_phase_is_replaced(tmp_path):
    path = tmp_path / "a.wav"
    left, right = tone(4.0), tone(4.0)
    right[32_000:] *= -1
    soundfile.write(path, np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    audio = read_audio(path)
    np.testing.assert_array_equal(audio.samples[:32_000], left[:32_000])
    np.testing.assert_array_equal(audio.samples[40_000:], left[40_000:])
    assert audio.warnings[0].startswith("its channels cancel out from 2 s")


def test_chosen_channel(tmp_path):
    path = tmp_path / "a.wav"
    sound = np.stack([tone(), noise()], axis=1)
    soundfile.write(path, sound, 16_000, subtype="FLOAT")
    for number in (1, 2):
        np.testing.assert_array_equal(
            read_audio(path, channel=number).samples, sound[:, number - 1]
        )
    assert refusal(path, channel=3) == "FILE has no channel 3: its channels are 1 to 2"


@pytest.mark.parametrize("name", [kind.name for kind in KINDS])
def test_containers_are_recognised(tmp_path, name):
    headerless = {"a.g722", "a.ts", "mp2.ts", "a.mpg", "a.mp2", "a.ac3", "a.eac3"}
    path = write(tmp_path / name, kind(name))
    assert is_container(path.read_bytes()[:4096]) == (name not in headerless)


def test_samples_are_not_taken_for_containers():
    random = np.random.default_rng(0)
    for scale in (1, 4, 100, 10_000, 32_767):
        for _ in range(200):
            samples = random.integers(-scale, scale + 1, 2048).astype("<i2")
            samples[0] = -5  # 0xFBFF in memory: the first bytes of an MP3
            assert not is_container(samples.tobytes())
            assert not is_container((samples / 32_768).astype("<f4").tobytes())


LIBSNDFILE = [
    (name, subtype)
    for name in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
    for subtype in soundfile.available_subtypes(name)
    if subtype in {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
    or subtype in {"ULAW", "ALAW", "ALAC_16", "ALAC_24"}
]


@pytest.mark.parametrize(("name", "subtype"), LIBSNDFILE)
def test_exact_formats_equal_libsndfile(tmp_path, name, subtype):
    path = tmp_path / f"clip.{name.lower()}"
    soundfile.write(path, noise(), 16_000, format=name, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(read_whole(path).samples, expected)


@needs_field_cases
@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("chained/chained_vorbis.ogg", 6.71),
        ("chained/cat_id3.mp3", 6.77),
        ("chained/mixed_rate.aac", 6.77),
        ("flac_streamed/piped.flac", 2.80),
        ("gap/gap.mka", 11.71),
        ("gap/gap.webm", 11.71),
        ("start_offset/film.mp4", 5.81),
        ("start_offset/late.mka", 5.80),
        ("wav_sizes/plus44.wav", 2.80),
        ("wav_sizes/stale.wav", 2.80),
    ],
)
def test_field_case_is_read_whole(name, seconds):
    assert read_whole(FIELD_CASES / name).seconds == pytest.approx(seconds, abs=0.04)


@needs_field_cases
@pytest.mark.parametrize("name", ["noise200.flac", "noise300_cbr.mp3"])
def test_field_case_of_a_bad_packet_keeps_the_rest(name):
    path = FIELD_CASES / "bad_packet" / name
    assert "is damaged at 4." in refusal(path)
    audio = read_audio(path, allow_truncated=True)
    assert audio.seconds == pytest.approx(16.42, abs=0.04)
    assert 0 < sum(span.end - span.start for span in audio.missing) < 0.3


@needs_field_cases
def test_field_cases_of_tracks_and_channels():
    assert "track 2 of 2" in read_audio(FIELD_CASES / "tracks" / "dual.mkv").warnings[0]
    audio = read_audio(FIELD_CASES / "stereo" / "inverted.wav")
    assert "cancel out" in audio.warnings[0]
    assert np.abs(audio.samples).max() > 0.1
