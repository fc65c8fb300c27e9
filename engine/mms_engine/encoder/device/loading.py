"""Loading of a bundle's plans and adapter bank onto a GPU."""

import contextlib
from dataclasses import replace

from mms_engine.backends.options import RunOptions
from mms_engine.bank.adapters import AdapterBank, adapter_bank, bank_options, head_sizes
from mms_engine.bank.device import DeviceBank, bank_bytes
from mms_engine.bank.heads import PAGE_TOKENS
from mms_engine.bundle.manifest import Runtime, Wav2Vec2Ctc
from mms_engine.bundle.reader import Bundle
from mms_engine.cuda.context import CudaDevice, open_device
from mms_engine.encoder.device.encoder import DeviceEncoder
from mms_engine.encoder.device.memory import BEAM_CHOICES, largest_run, run_bytes
from mms_engine.encoder.device.plans import DevicePlans
from mms_engine.errors import BackendError
from mms_engine.tensorrt.choose import (
    PLANNED_PRECISIONS,
    Target,
    planned_graphs,
    planned_precision,
)
from mms_engine.tensorrt.toolkit import open_toolkit


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
        preference = PLANNED_PRECISIONS if options.precision is None else (options.precision,)
        precision = planned_precision(bundle.manifest, preference, target)
        plans = DevicePlans(bundle, precision, target, device)
        undo.callback(plans.close)
        for name in planned_graphs(bundle.manifest.model):
            plans.session(name)
        bank = None
        if isinstance(bundle.manifest.model, Wav2Vec2Ctc):
            bank = _make_bank(bundle, plans, options, device)
            undo.callback(bank.storage.free)
        encoder = DeviceEncoder(plans, bank)
        undo.pop_all()
    return encoder


def _make_bank(
    bundle: Bundle, plans: DevicePlans, options: RunOptions, device: CudaDevice
) -> AdapterBank[DeviceBank]:
    encoder = plans.session(plans.encoder)
    with device.active("querying free memory"):
        free = device.free_bytes()
    budget = bank_bytes(free, options.adapter_cache_bytes, _reserve(bundle, plans))
    sizes = bank_options(bundle, encoder.inputs, budget)
    buckets = encoder.buckets
    if sizes.sizes[0] > buckets.most("pages"):
        vocab = max(entry.vocab_size for entry in bundle.manifest.data.values())
        raise BackendError(
            f"the plan's vocabularies are smaller than the {vocab} tokens of this bundle: "
            "build the plans again"
        )
    slots = buckets.most("slots") if sizes.adapter_parameters else sizes.slots
    sizes = replace(
        sizes,
        slots=min(sizes.slots, slots),
        pages=min(sizes.pages, buckets.most("bank_pages") - 1),
    )
    return adapter_bank(bundle.adapter, bundle.vocab_size, sizes, DeviceBank(device, sizes))


def _reserve(bundle: Bundle, plans: DevicePlans) -> int:
    """Return the device memory that the largest run takes, and a beam search over its scores."""
    names = planned_graphs(bundle.manifest.model)
    frontend, encoder = map(plans.plan, names)
    vocab = head_sizes(bundle.manifest)[0] * PAGE_TOKENS
    rows, frames = largest_run(encoder)
    scratch = max(plans.session(name).scratch_bytes() for name in names)
    run = run_bytes(frontend, encoder, rows, frames, vocab=vocab, geometry=plans.geometry)
    choices = rows * frames * min(vocab, BEAM_CHOICES) * 8
    return scratch + run + choices
