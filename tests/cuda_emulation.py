"""The CUDA kernels on the host: built once, launched by name on NumPy arrays."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np

from mms_kernels.cuda import arguments
from mms_kernels.cuda.arguments import AlignArgs, Code, GreedyArgs, ScoresBatch

ROOT = Path(__file__).parents[1]
DTYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
TOKEN_TYPES = {"tokens": "i4", "starts": "i8", "ends": "i8", "scores": "f4", "peaks": "f4"}


class Fault(Exception):
    """What the emulation found wrong with a kernel."""


def build(folder):
    """Build the library in `folder`, which may hold an older build, and load it."""
    flags = ["-DMMS_BUILD_PYTHON=OFF", "-DMMS_BUILD_EMULATION=ON", "-DMMS_WERROR=ON"]
    configure = ["cmake", "-S", ROOT, "-B", folder, *flags]
    for command in (configure, ["cmake", "--build", folder, "--target", "mms_emulated"]):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return ctypes.CDLL(str(next(Path(folder).glob("*mms_emulated*"))))


def to_bfloat16(array):
    """Round float32 to bfloat16 (half to even), as uint16."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


class Device:
    """Launches kernels; `seed` decides the order of the threads, `threads` the size of blocks."""

    def __init__(self, library, seed=0, threads=64):
        self.library = library
        self.seed = seed
        self.threads = threads

    def launch(self, name, grid, threads, *args, shared_bytes=0):
        pointers = (ctypes.c_void_p * len(args))(*[ctypes.addressof(arg) for arg in args])
        error = ctypes.create_string_buffer(1000)
        status = self.library.mms_emulated_launch(
            name.encode(),
            (ctypes.c_uint * 3)(*grid, *[1] * (3 - len(grid))),
            ctypes.c_uint(threads),
            ctypes.c_size_t(shared_bytes),
            ctypes.c_uint(self.seed),
            pointers,
            error,
            ctypes.c_size_t(len(error)),
        )
        if status:
            raise Fault(error.value.decode())

    def zeros(self, shape, dtype=float):
        """Return an array that the host and the device see at one address."""
        return np.zeros(shape, dtype)

    def put(self, array):
        """Return the values of an array at such an address."""
        placed = self.zeros(np.shape(array), np.asarray(array).dtype)
        placed[...] = array
        return placed

    def scores(self, data, lengths, kind, begins=None):
        """Return the batch's struct and the frames that mms_frames computes of it."""
        dtype = DTYPES["bfloat16" if data.dtype == np.uint16 else str(data.dtype)]
        rows, frames, vocab = data.shape
        data = self.put(data)
        batch = ScoresBatch(
            data.ctypes.data, rows, frames, vocab, lengths.ctypes.data, dtype, kind == "log_probs"
        )
        batch.begins = None if begins is None else begins.ctypes.data
        batch.held = data, lengths, begins  # as long as the struct, so what it points to
        infos = self.zeros((rows, frames), arguments.FRAME)
        warps = self.threads // 32
        if rows and frames:
            pointer = ctypes.c_void_p(infos.ctypes.data)
            grid = (-(-frames // warps), rows)
            self.launch("mms_frames", grid, self.threads, batch, pointer)
        return batch, infos


class Greedy:
    """Streams of greedy decoding, their state on the device."""

    def __init__(self, device, rows, blank=0):
        self.device = device
        self.blank = blank
        self.streams = device.zeros(rows, arguments.GREEDY_STREAM)
        self.streams["open"] = blank

    def step(self, data, lengths, *, kind="logits", finish=False, capacity=None):
        """Return each row's status, and its tokens as a dict of arrays."""
        zeros = self.device.zeros
        lengths = self.device.put(np.asarray(lengths, np.int64))
        _, infos = self.device.scores(data, lengths, kind)
        rows, frames = infos.shape
        room = frames + 1 if capacity is None else capacity
        status = zeros(rows, arguments.STATUS)
        counts = zeros(rows, np.int64)
        out = {name: zeros((rows, max(room, 0)), dtype) for name, dtype in TOKEN_TYPES.items()}
        arrays = [infos, lengths, self.streams, status, counts, *out.values()]
        pointers = [array.ctypes.data for array in arrays]
        args = GreedyArgs(*pointers[:2], frames, None, *pointers[2:], room, self.blank, finish)
        self.device.launch("mms_greedy", (rows,), 32, args)
        tokens = [{k: v[row, : counts[row]] for k, v in out.items()} for row in range(rows)]
        return status, tokens


def align(
    device, data, targets, *, lengths=None, kind="log_probs", blank=0, star=None, shared=True
):
    """Align each row; returns statuses, path scores, and (starts, ends, scores) of each row."""
    rows, frames, _ = data.shape
    lengths = device.put(
        np.full(rows, frames) if lengths is None else np.asarray(lengths, np.int64)
    )
    batch, infos = device.scores(data, lengths, kind)
    counts = device.put(np.array([len(target) for target in targets], np.int64))
    width = int(counts.max(initial=0))
    padded = device.put(np.full((rows, width), -7, np.int32))
    for row, target in enumerate(targets):
        padded[row, : len(target)] = target
    words = arguments.align_bits(frames, width)
    bits = device.zeros((rows, words), np.uint32)
    cells = device.zeros((rows, 4 * (width + 1)))
    starts, ends = device.zeros((2, rows, width), np.int64)
    scores = device.zeros((rows, width), np.float32)
    path_scores = device.zeros(rows)
    status = device.zeros(rows, arguments.STATUS)
    args = AlignArgs(
        batch,
        infos.ctypes.data,
        padded.ctypes.data,
        counts.ctypes.data,
        width,
        bits.ctypes.data,
        words,
        None if shared else cells.ctypes.data,
        *[a.ctypes.data for a in (starts, ends, scores, path_scores, status)],
        blank,
        star is not None,
        star[0] if star else 0,
        star[1] if star else 0.0,
    )
    size = arguments.align_shared_bytes(width) if shared else 0
    device.launch("mms_align", (rows,), device.threads, args, shared_bytes=size)
    spans = [
        (starts[r, : counts[r]], ends[r, : counts[r]], scores[r, : counts[r]]) for r in range(rows)
    ]
    return status, path_scores, spans


def codes(status):
    return [Code(code) for code in status["code"]]
