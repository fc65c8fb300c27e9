"""Choices of options and kinds of results, by name."""

from typing import Literal, get_args

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)
BackendName = Literal["ort-cpu", "ort-cuda", "tensorrt", "tensorrt-rtx"]
BACKEND_NAMES: tuple[BackendName, ...] = get_args(BackendName)
Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
UNDETERMINED = "und"
"""ISO 639-3 code of an undetermined language."""
LmUnit = Literal["auto", "word", "token"]
Latency = Literal["low", "balanced", "accurate"]
ContextKind = Literal["cached", "window"]
NormalizationScope = Literal["utterance", "running"]
SampleFormat = Literal["f32le", "s16le", "mulaw", "alaw"]
VoiceDetector = Literal["level", "silero"]
ClipFormat = Literal["flac", "wav"]
AudioFormat = Literal["wav", "flac", "mp3", "ogg", "aac"]
NumberPolicy = Literal["words", "star"]
"""Numbers are read out where the language's rules are known, or never."""
SpokenNumbers = Literal["words", "keep", "error"]
"""Numbers, dates and symbols are read out where the language's rules are known, kept as they are
written, or read out with an error for those that cannot be."""
TextUnit = Literal["line", "sentence", "paragraph"]
"""Lines as given, sentences, or blocks between blank lines."""
Stars = Literal["none", "edges", "paragraphs", "lines"]
"""Places of a text where the audio may hold speech of any length that the text lacks."""
SegmentUnit = Literal["line", "pause"]
"""A segment per line of an alignment, or per span between pauses."""
Pooling = Literal["mean", "none"]
"""`mean` over all frames, or `none`: every frame."""
WordTimes = Literal["spoken", "tight", "filled"]
"""`tight`: the frames of a word's own letters. `spoken`: with 60 ms of the gap behind the word, at
most half of it, in which its last sound goes on. `filled`: with half of the gap to each side."""
RegionKind = Literal["missing", "extra", "swapped", "repeated", "untrusted"]
"""`missing`: speech that the text lacks. `extra`: text that is not spoken. `swapped`: text spoken
at another place. `repeated`: spoken or written once more than the other. `untrusted`: text that
differs from what is spoken there, or that the model cannot confirm."""
DroppedKind = Literal["letter", "mark", "digit", "symbol", "punctuation", "silent"]
"""`mark`: of a letter. `symbol`: also emoji. `punctuation`: also control characters. `silent`: the
romanisation writes nothing for it."""
IdentificationAnswer = Literal["language", "unsure", "no_speech", "too_short"]
"""`language`: the best one. `unsure`: its raw logit is below the floor. `no_speech`: there is too
little speech. `too_short`: the audio is shorter than a frame of the model."""
