"""Loading of a voice model: choice of backend and precision, and the bank of voices."""

import contextlib
import logging

from mms_engine.backends.options import RunOptions
from mms_engine.backends.registry import BACKENDS, Choice, available, open_graph, rank
from mms_engine.bank.device import bank_bytes
from mms_engine.bank.device_voices import DeviceVoices
from mms_engine.bank.voices import HostVoices, VoiceBank, VoiceStorage, voice_bank, voice_slots
from mms_engine.bundle.manifest import Runtime, Vits
from mms_engine.bundle.reader import Bundle
from mms_engine.cuda.context import open_device
from mms_engine.encoder.loading import choose_precision
from mms_engine.errors import BackendError
from mms_engine.system import usable_cores
from mms_engine.tensorrt.choose import (
    PLANNED_PRECISIONS,
    NoPlan,
    Target,
    choose_plan,
    planned_precision,
)
from mms_engine.tensorrt.session import PlanFile, TensorRtSession, open_plan
from mms_engine.tensorrt.toolkit import open_toolkit
from mms_engine.tts.chunks import RUN_THREADS, margin_frames
from mms_engine.tts.graphs import ACTIVATIONS, VitsGraphs, VitsSession
from mms_engine.tts.options import SynthesizerOptions

logger = logging.getLogger(__name__)

_RUN_BYTES = 1 << 30
"""Device memory for the runs of a voice, which take less."""


def load_graphs(bundle: Bundle, options: RunOptions, model: str = "") -> VitsGraphs:
    """Choose a backend and a precision, and open the graphs, or the plans of them.

    With `device="auto"`, a backend that cannot run this bundle is skipped with a warning.

    Args:
        bundle: Bundle of voices.
        options: Device, backend, precision and threads.
        model: Key of `Manifest.models`; empty for the sizes of most voices.

    Raises:
        BundleError: the bundle is of another task, lacks the precision, or is damaged.
        BackendError: no backend here can run it.
    """
    bundle.model(Vits)
    choices = rank(options.device, available(), options.backend)
    for number, choice in enumerate(choices):
        runtime = BACKENDS[choice.backend].runtime
        try:
            if runtime is None:
                return _load_host(bundle, options, choice, model)
            return _load_plans(bundle, options, runtime, model)
        except BackendError as error:
            if number + 1 == len(choices):
                raise BackendError(f"{error} (chosen: {choice.reason})") from error
            # A bundle without plans is not worth a warning.
            level = logging.INFO if isinstance(error, NoPlan) else logging.WARNING
            logger.log(level, "%s was tried first and cannot run: %s", choice.backend, error)
    raise AssertionError("rank returns at least one choice")


def _load_host(bundle: Bundle, options: RunOptions, choice: Choice, model: str) -> VitsGraphs:
    threads = min(options.threads or usable_cores(), RUN_THREADS)
    precision = choose_precision(bundle, options.precision, choice.device, model)
    with contextlib.ExitStack() as undo:
        sessions: dict[str, VitsSession] = {}
        for name in ACTIVATIONS:
            session = open_graph(choice, bundle, name, precision, threads, model=model)
            undo.callback(session.close)
            sessions[name] = session
        variant = f"{choice.backend} {precision} {choice.device}"
        graphs = VitsGraphs(sessions, precision, variant, device=choice.device)
        undo.pop_all()
    return graphs


def _load_plans(bundle: Bundle, options: RunOptions, runtime: Runtime, model: str) -> VitsGraphs:
    device = open_device()
    with device.active("loading TensorRT"):
        version = open_toolkit(runtime).version
    target = Target(runtime, version, device.compute_capability)
    preference = PLANNED_PRECISIONS if options.precision is None else (options.precision,)
    precision = planned_precision(bundle.manifest, preference, target, model)
    with contextlib.ExitStack() as undo:
        files: dict[str, PlanFile] = {}
        sessions: dict[str, TensorRtSession] = {}
        for name in ACTIVATIONS:
            plan = choose_plan(bundle.manifest, name, precision, target, model)
            files[name] = PlanFile(plan, bundle.plan_path(plan))
            # Each has a CUDA stream: the next sentence is planned while one is decoded.
            session = open_plan(files[name], few_shapes=False)
            undo.callback(session.close)
            sessions[name] = session
        vocab = _largest_vocab(bundle, model)
        if not sessions["text"].buckets.most("tokens", vocab=vocab):
            raise BackendError(
                f"the plan's vocabularies are smaller than the {vocab} tokens of this bundle: "
                "build the plans again"
            )
        frames = sessions["flow"].buckets.most("frames")
        if frames <= 2 * margin_frames(bundle.voice_sizes(model)):
            raise BackendError(
                f"the plan of the flow covers {frames} frames, too few for speech: build the plans "
                "again, with a longer profile"
            )
        graphs = VitsGraphs(
            sessions,
            precision,
            f"{runtime} {precision} {device.name}",
            device="cuda",
            gpu=device,
            most_frames=frames,
            open_more=lambda name: open_plan(files[name], few_shapes=False),
        )
        undo.pop_all()
    return graphs


def open_voice_bank(
    bundle: Bundle, graphs: VitsGraphs, options: SynthesizerOptions, threads: int, model: str = ""
) -> VoiceBank:
    """Return an empty bank of a bundle's voices, in the memory from which the graphs take them.

    Args:
        bundle: Bundle of the voices.
        graphs: Its graphs.
        options: Memory for voices, of which those of each size get a share by their number.
        threads: Threads that convert a voice on a CPU.
        model: Key of `Manifest.models`; empty for the sizes of most voices.

    Raises:
        BackendError: the device failed.
    """
    voices, gpu = bundle.voices_of(model), graphs.gpu
    vocab = _largest_vocab(bundle, model)
    budget = options.voice_cache_bytes * len(voices) // max(1, len(bundle.manifest.data))
    if gpu is not None:
        with gpu.active("querying free memory"):
            budget = min(budget, bank_bytes(gpu.free_bytes(), 0, _RUN_BYTES))
    slots = voice_slots(graphs.weights, vocab=vocab, voices=len(voices), budget=budget)
    storage: VoiceStorage
    if gpu is None:
        storage = HostVoices(slots, graphs.weights, threads)
    else:
        storage = DeviceVoices(gpu, slots, graphs.weights, vocab=vocab)
    quantized = graphs.precision == "int8" and any(entry.int8 for entry in voices.values())
    return voice_bank(lambda code: bundle.voice(code, quantized=quantized), storage, slots=slots)


def _largest_vocab(bundle: Bundle, model: str) -> int:
    return max((entry.vocab_size for entry in bundle.voices_of(model).values()), default=1)
