"""Loading of a bundle's plans and adapter bank onto a GPU."""

import contextlib

import numpy as np

from mms_engine.backends.options import RunOptions
from mms_engine.backends.session import NUMPY_DTYPE
from mms_engine.bank.adapters import AdapterBank, BankOptions, adapter_bank, slots_within
from mms_engine.bank.device import DeviceBank, bank_bytes
from mms_engine.bundle.manifest import Runtime, Wav2Vec2, Wav2Vec2Ctc
from mms_engine.bundle.reader import Bundle
from mms_engine.cuda.context import CudaDevice, open_device
from mms_engine.cuda.streams import CudaStream
from mms_engine.encoder.device.encoder import DeviceEncoder
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.errors import BackendError
from mms_engine.tensorrt.choose import OFFLINE_GRAPHS, Target, choose_plan, planned_precision
from mms_engine.tensorrt.session import PlanFile, TensorRtSession, open_plan
from mms_engine.tensorrt.toolkit import open_toolkit
from mms_engine.types import Precision

_PREFERENCE: tuple[Precision, ...] = ("fp16", "bf16")
"""Precisions that plans are built in, best first."""


def load_device_encoder(bundle: Bundle, options: RunOptions, runtime: Runtime) -> DeviceEncoder:
    """Load a bundle's plans on the first CUDA device, and allocate its adapter bank.

    Raises:
        NoPlan: the bundle has no plan of this runtime.
        BackendError: no plan fits, or the device failed.
        BundleError: a plan is damaged.
    """
    device = open_device()
    with contextlib.ExitStack() as undo:
        with device.active("loading TensorRT"):
            version = open_toolkit(runtime).version
        target = Target(runtime, version, device.compute_capability)
        preference = _PREFERENCE if options.precision is None else (options.precision,)
        precision = planned_precision(bundle.manifest, preference, target)
        with device.active("preparing to run"):
            stream = CudaStream(device)
        undo.callback(_free, device, stream)

        def open_graph(name: str) -> TensorRtSession:
            plan = choose_plan(bundle.manifest, name, precision, target)
            return open_plan(PlanFile(plan, bundle.plan_path(plan)), stream)

        sessions = []
        for name in OFFLINE_GRAPHS:
            sessions.append(open_graph(name))
            undo.callback(sessions[-1].close)
        frontend, encoder = sessions
        bank = _make_bank(bundle, encoder, options, device)
        undo.callback(bank.storage.free)
        geometry = FrameGeometry.of(bundle.model(Wav2Vec2))
        variant = f"{runtime} {precision} {device.name}"
        loaded = DeviceEncoder(frontend, encoder, bank, geometry, open_graph, variant)
        undo.pop_all()
    return loaded


def _free(device: CudaDevice, stream: CudaStream) -> None:
    with device.active("closing"):
        stream.free()


def _make_bank(
    bundle: Bundle, encoder: TensorRtSession, options: RunOptions, device: CudaDevice
) -> AdapterBank[DeviceBank]:
    model, entries = bundle.model(Wav2Vec2Ctc), bundle.manifest.data.values()
    dtype = next(tensor.dtype for tensor in encoder.inputs if tensor.name == "adapters")
    vocab = max((entry.vocab_size for entry in entries), default=1)
    # The plan of the step graph is loaded later, with the first stream, and needs room too.
    later = (plan.file.size for plan in bundle.manifest.plans if plan.graph == "step")
    with device.active("querying free memory"):
        free = device.free_bytes() - max(later, default=0)
    budget = bank_bytes(max(0, free), options.adapter_cache_bytes)
    slots = slots_within(
        budget,
        adapter_parameters=model.adapter_parameters,
        hidden_size=model.hidden_size,
        vocab=vocab,
        itemsize=np.dtype(NUMPY_DTYPE[dtype]).itemsize,
    )
    most = encoder.buckets.most("slots", vocab=vocab)
    if not most:
        raise BackendError(
            f"the plan's vocabularies are smaller than the {vocab} tokens of this bundle: "
            "build the plans again"
        )
    sizes = BankOptions(
        adapter_parameters=model.adapter_parameters,
        hidden_size=model.hidden_size,
        dtype=dtype,
        slots=max(1, min(slots, len(entries), most)),
    )
    return adapter_bank(bundle.adapter, sizes, DeviceBank(device, sizes, vocab))
