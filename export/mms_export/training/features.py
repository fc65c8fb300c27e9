"""Features of clips on disk: what the frozen convolutions make of them, computed once."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mms_engine.audio import normalize
from mms_engine.bundle.files import atomic_open
from mms_engine.errors import MmsError
from mms_engine.types import Float32Array
from mms_export.parity.network import Network
from mms_export.training.corpus.clip import Clip

Features = npt.NDArray[np.float16]


class FeatureCache:
    """Features `[T, C]` of clips, float16, a file each; they stay valid while recordings do."""

    def __init__(self, folder: Path, network: Network, fingerprint: str) -> None:
        """Open a cache.

        Args:
            folder: Folder of the files, created if it is missing.
            network: Base model; its convolutions' tensors have to be float32.
            fingerprint: Identity of the base model.
        """
        self._folder = folder
        self._network = network
        self._fingerprint = fingerprint
        folder.mkdir(parents=True, exist_ok=True)

    def missing(self, clips: Iterable[Clip]) -> list[Clip]:
        """Return the clips whose features are not here."""
        return [clip for clip in clips if not self._path(clip).is_file()]

    def add(self, clip: Clip, samples: Float32Array) -> None:
        """Compute and write the features of a clip.

        Args:
            clip: The clip.
            samples: Its audio `[N]`, mono at 16 kHz.

        Raises:
            MmsError: they are not finite.
        """
        config = self._network.config
        if config.normalize:
            samples = normalize(samples, config.normalize_epsilon)
        device = self._network.base("encoder.layer_norm.weight").device
        audio = torch.from_numpy(samples)[None].to(device)
        with torch.inference_mode():
            features = self._network.features(audio)[0].half().cpu().numpy()
        if not np.isfinite(features).all():
            raise MmsError(f"{clip.where}: the base model's features of this clip are not finite")
        with atomic_open(self._path(clip)) as stream:
            np.save(stream, features)

    def read(self, clip: Clip) -> Features:
        """Return the features of a clip."""
        features: Features = np.load(self._path(clip))
        return features

    def _path(self, clip: Clip) -> Path:
        status = clip.audio.stat()
        key = [self._fingerprint, str(clip.audio.absolute()), status.st_size, status.st_mtime_ns]
        document = json.dumps([*key, clip.start, clip.end])
        return self._folder / f"{hashlib.sha256(document.encode()).hexdigest()[:32]}.npy"
