"""Storage of resident voices in device memory."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from mms_engine.backends.session import convert, storage_dtype
from mms_engine.bank.bank import Resident
from mms_engine.bank.voices import find_weight, voice_shape
from mms_engine.bundle.manifest import Tensor
from mms_engine.bundle.voices import VoiceWeights
from mms_engine.cuda.context import CudaDevice
from mms_engine.cuda.layout import pack
from mms_engine.cuda.memory import DeviceArray, PinnedArray
from mms_engine.cuda.streams import CudaStream
from mms_engine.errors import BackendError, BundleCorrupt


class DeviceVoices:
    """Slots in device memory, each one array with room for any voice; see `VoiceStorage`.

    A slot has its memory once a voice is written, and keeps it: weights stay at their addresses,
    which CUDA graphs hold. A voice is one copy, which is done when `write` returns, and a run is
    done when it returns, so nothing else orders the two.
    """

    def __init__(
        self, device: CudaDevice, slots: int, inputs: Sequence[Tensor], *, vocab: int
    ) -> None:
        """Allocate the staging memory, and no slot yet.

        Args:
            device: GPU of the graphs.
            slots: R: number of slots.
            inputs: Weights that the graphs take.
            vocab: Tokens of the largest vocabulary.

        Raises:
            BackendError: the device failed.
        """
        self._device = device
        self._inputs = tuple(inputs)
        self._layout = pack(
            **{
                tensor.name: (voice_shape(tensor, vocab), storage_dtype(tensor.dtype).str)
                for tensor in inputs
            }
        )
        self._lock = threading.Lock()
        self._memory: list[DeviceArray | None] = [None] * slots
        self._arrays: list[Mapping[str, DeviceArray]] = [{}] * slots
        with device.creating("preparing the voices") as owned:
            self._stream: CudaStream | None = owned(CudaStream(device))
            self._staging = owned(PinnedArray.empty(device, (self._layout.size,), "uint8"))

    def write(self, resident: Resident[Any], weights: VoiceWeights) -> None:
        """Convert a voice's weights into its slot; see `VoiceStorage.write`."""
        found = {tensor.name: find_weight(weights, tensor) for tensor in self._inputs}
        parts = self._layout.parts
        for name, source in found.items():
            if source.size > parts[name].size // parts[name].dtype.itemsize:
                raise BundleCorrupt(
                    f"{weights.path}: {name} is {list(source.shape)}, more than the manifest says: "
                    "export the bundle again"
                )
        with self._lock, self._device.active(f"copying the voice {weights.voice.language}"):
            if self._stream is None:
                raise BackendError("the synthesizer is closed")
            memory = self._memory[resident.slot]
            if memory is None:
                memory = DeviceArray.empty(self._device, (self._layout.size,), "uint8")
                self._memory[resident.slot] = memory
            arrays: dict[str, DeviceArray] = {}
            for tensor in self._inputs:
                part, source = parts[tensor.name], found[tensor.name]
                size = source.size * part.dtype.itemsize
                room = self._staging.array[part.offset : part.offset + size].view(part.dtype)
                room.reshape(source.shape)[...] = convert(source, tensor.dtype)
                arrays[tensor.name] = memory.view(source.shape, part.dtype, offset=part.offset)
            self._stream.upload(memory, self._staging.array)
            self._stream.synchronize()
            self._arrays[resident.slot] = arrays

    def arrays(self, slot: int) -> Mapping[str, DeviceArray]:
        """Return the weights of a written slot by name; see `VoiceStorage.arrays`."""
        return self._arrays[slot]

    def free(self) -> None:
        """Free the memory of all slots, of which no run is in progress. May be called twice."""
        with self._lock:
            if self._stream is None:
                return
            with self._device.active("freeing the voices"):
                self._stream.free()
                self._stream = None
                self._staging.free()
                for memory in self._memory:
                    if memory is not None:
                        memory.free()
                self._memory.clear()
