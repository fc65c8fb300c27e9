"""Speed of decoding and of copies on a GPU, as JSON. Needs the engine, and no TensorRT.

    python tools/gpu_bench.py [--small] [--json FILE]

Each figure is the median of several repetitions on the host's clock, work on the device included.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mms_engine.cuda.context import CudaDevice, Owned, open_device
from mms_engine.cuda.memory import DeviceArray, PinnedArray
from mms_engine.cuda.streams import CudaEvent, CudaStream
from mms_engine.decoding.device.decoders import DeviceDecoders
from mms_engine.decoding.interface import DecodeRow
from mms_engine.decoding.options import BeamSearch
from mms_engine.decoding.search import BeamConfig
from mms_engine.encoder.device.emission import DeviceEmission
from mms_engine.text.vocabulary import Vocabulary

FULL = {"vocabularies": (32, 154, 3000), "shapes": ((64, 16), (16, 1500)), "megabytes": 256}
SMALL = {"vocabularies": (32,), "shapes": ((2, 16),), "megabytes": 1}
BEAMS = (0, 16, 50)
"""Beam sizes; 0 for greedy decoding."""
_REPEATED = 7
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")


def main() -> None:
    """Measure, and print or write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="little of each, to try the script")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write instead")
    options = parser.parse_args()
    extent = SMALL if options.small else FULL
    device = open_device()
    result = {
        "device": device.name,
        "capability": device.compute_capability,
        "copies": list(copies(device, extent["megabytes"] << 20)),
        "decoding": [
            decoding(device, shape, vocabulary, beam)
            for shape in extent["shapes"]
            for vocabulary in extent["vocabularies"]
            for beam in BEAMS
        ],
    }
    text = json.dumps(result, indent=2) + "\n"
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def copies(device: CudaDevice, size: int) -> Iterator[dict[str, object]]:
    """Measure copies of `size` bytes in each direction, and of columns as KV caches take them."""
    with device.active("measuring copies"), Owned() as owned:
        stream = owned(CudaStream(device))
        pinned = owned(PinnedArray.empty(device, (size,), np.uint8)).array
        pageable = np.zeros(size, np.uint8)
        pinned[...] = 0
        array, other = (owned(DeviceArray.empty(device, (size,), np.uint8)) for _ in range(2))
        lines, half = ((1024, size // 1024), size // 2048)
        wide, broad = array.view(lines), other.view(lines)
        for name, copied, enqueue in (
            ("to the device, page-locked", size, lambda: stream.upload(array, pinned)),
            ("to the device, pageable", size, lambda: stream.upload(array, pageable)),
            ("to the host, page-locked", size, lambda: stream.download(pinned, array)),
            ("within the device", size, lambda: stream.copy(other, array)),
            ("columns", size // 2, lambda: stream.copy_columns(broad, 0, wide, half, half)),
        ):
            seconds = measure(lambda enqueue=enqueue: enqueue() or stream.synchronize())
            yield {
                "copy": name,
                "bytes": copied,
                "seconds": seconds,
                "GB/s": copied / seconds / 1e9,
            }


def decoding(
    device: CudaDevice, shape: tuple[int, int], vocabulary: int, beam: int
) -> dict[str, object]:
    """Measure the decoding of a batch: whole utterances, and one chunk of streams that go on."""
    rows, frames = shape
    tokens = Vocabulary((*_SPECIAL, *(chr(0x4E00 + i) for i in range(vocabulary - len(_SPECIAL)))))
    config = BeamConfig(BeamSearch(beam_size=beam)) if beam else None
    logits = np.random.default_rng(1).normal(size=(rows, frames, vocabulary)).astype(np.float32)
    logits[..., 0] += 6  # mostly blanks, as of speech
    decoders = DeviceDecoders(device, config)
    with device.active("measuring decoding"), Owned() as owned:
        owned.callback(decoders.close)
        stream, ready = owned(CudaStream(device)), owned(CudaEvent(device))
        held = owned(DeviceArray.empty(device, logits.shape, np.float32))
        stream.upload(held, logits)
        stream.record(ready)
        stream.synchronize()
        emission = DeviceEmission(held, (frames,) * rows, (vocabulary,) * rows, ready, stream)

        def start() -> list[DecodeRow]:
            utterances = (decoders.start("eng", tokens) for _ in range(rows))
            return [DecodeRow(each, slice(0, frames)) for each in utterances]

        def whole() -> None:
            batch = start()
            decoders.step(batch, emission)
            decoders.finish([row.decoding for row in batch])

        going = start()
        utterance = measure(whole)
        # A step takes the tokens of the one before it.
        chunk = measure(lambda: decoders.step(going, emission))
        decoders.finish([row.decoding for row in going])
    return {
        "rows": rows,
        "frames": frames,
        "vocabulary": vocabulary,
        "beam": beam,
        "whole_seconds": utterance,
        "step_seconds": chunk,
    }


def measure(run: Callable[[], object]) -> float:
    """Return the median seconds of a run."""
    run()
    seconds = []
    for _ in range(_REPEATED):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
