"""Loading of an acoustic model: choice of backend and precision, size of the adapter bank."""

import importlib
import logging

from mms_engine.backends.options import RunOptions
from mms_engine.backends.registry import BACKENDS, Choice, available
from mms_engine.backends.registry import rank as rank_backends
from mms_engine.bank.adapters import adapter_bank, bank_options
from mms_engine.bank.host import HostBank
from mms_engine.bundle.manifest import Wav2Vec2, Wav2Vec2Ctc
from mms_engine.bundle.reader import Bundle
from mms_engine.encoder.host.encoder import HostEncoder
from mms_engine.encoder.host.graphs import HiddenState, HostGraphs
from mms_engine.encoder.interface import Encoder
from mms_engine.encoder.model import AcousticModel
from mms_engine.errors import BackendError, BundleCorrupt, BundleError
from mms_engine.tensorrt.choose import NoPlan
from mms_engine.types import Precision

logger = logging.getLogger(__name__)

# ONNX Runtime has no bf16 kernels for CPUs; fp16 runs there, but no faster than fp32.
PREFERENCE: dict[str, tuple[Precision, ...]] = {
    "cpu": ("fp32", "int8", "fp16"),
    "cuda": ("fp16", "bf16", "fp32", "int8"),
}
_HOST_BANK_BYTES = 1 << 30


def load_acoustic_model(
    bundle: Bundle, options: RunOptions, kind: type[Wav2Vec2] = Wav2Vec2Ctc
) -> AcousticModel:
    """Choose a backend and a precision, and load frontend and encoder.

    With `device="auto"`, a backend that cannot run this bundle is skipped with a warning.

    Args:
        bundle: The bundle.
        options: Device, backend, precision and threads.
        kind: Kind of model of the task.

    Raises:
        BundleError: the bundle is of another kind, lacks the precision, or is damaged.
        BackendError: no backend can run it.
    """
    bundle.model(kind)
    choices = rank_backends(options.device, available(), options.backend)
    for number, choice in enumerate(choices):
        try:
            return AcousticModel(bundle, _load(bundle, choice, options))
        except BackendError as error:
            if number + 1 == len(choices):
                raise BackendError(f"{error} (chosen: {choice.reason})") from error
            # A bundle without plans is not worth a warning.
            level = logging.INFO if isinstance(error, NoPlan) else logging.WARNING
            logger.log(level, "%s was tried first and cannot run: %s", choice.backend, error)
    raise AssertionError("rank returns at least one choice")


def load_hidden_states(bundle: Bundle, options: RunOptions, layer: int | None) -> AcousticModel:
    """Load frontend and encoder of any wav2vec 2.0 model, for its hidden states instead of logits.

    Plans of TensorRT have no hidden states: ONNX Runtime runs the graphs.

    Args:
        bundle: The bundle.
        options: Device, backend, precision and threads.
        layer: Number of the hidden state; `None` for the last, behind the final layer norm.

    Raises:
        BundleError: the bundle is of another kind, lacks the precision, or is damaged.
        BackendError: no backend can run it.
    """
    bundle.model(Wav2Vec2)
    if options.backend is not None and BACKENDS[options.backend].runtime is not None:
        raise BackendError(
            f"{options.backend} runs plans, which have no hidden states: choose ort-cuda or ort-cpu"
        )
    usable = {name: each for name, each in available().items() if BACKENDS[name].runtime is None}
    choice = rank_backends(options.device, usable, options.backend)[0]
    return AcousticModel(bundle, _load_host_encoder(bundle, choice, options, HiddenState(layer)))


def _load(bundle: Bundle, choice: Choice, options: RunOptions) -> Encoder:
    runtime = BACKENDS[choice.backend].runtime
    if runtime is None:
        return _load_host_encoder(bundle, choice, options)
    module = importlib.import_module("mms_engine.encoder.device.loading")
    encoder: Encoder = module.load_device_encoder(bundle, options, runtime)
    return encoder


def _load_host_encoder(
    bundle: Bundle, choice: Choice, options: RunOptions, hidden: HiddenState | None = None
) -> HostEncoder:
    precision = choose_precision(bundle, options.precision, choice.device)
    graphs = HostGraphs(bundle, precision, choice, options.threads, hidden)
    try:
        graphs.session("frontend")
        if not isinstance(bundle.manifest.model, Wav2Vec2Ctc):
            graphs.session("encoder")
            return HostEncoder(graphs, None)
        inputs = graphs.session("encoder").inputs
        sizes = bank_options(bundle, inputs, options.adapter_cache_bytes or _HOST_BANK_BYTES)
        return HostEncoder(
            graphs, adapter_bank(bundle.adapter, bundle.vocab_size, sizes, HostBank(sizes))
        )
    except (ValueError, MemoryError) as error:
        graphs.close()
        raise BundleCorrupt(
            f"{bundle.path}: the sizes in its manifest are impossible ({error}): "
            "export the bundle again"
        ) from error
    except BaseException:
        graphs.close()
        raise


def choose_precision(
    bundle: Bundle, wanted: Precision | None, device: str, model: str = ""
) -> Precision:
    """Return `wanted`, or the bundle's best precision for `device`.

    Args:
        bundle: The bundle.
        wanted: Precision asked for; `None` for the best.
        device: `cpu` or `cuda`.
        model: Key of `Manifest.models`; empty for `Manifest.model`.

    Raises:
        BundleError: the bundle has no graphs, or not the wanted ones.
    """
    found = bundle.precisions_of(model)
    if wanted is not None:
        if wanted not in found:
            voices = f" for the voice {next(iter(bundle.voices_of(model)))}" if model else ""
            raise BundleError(
                f"{bundle.path} has no {wanted} graphs{voices}, only {', '.join(found)}: "
                f"add them with mms-export --precision {wanted}"
            )
        return wanted
    for precision in PREFERENCE[device]:
        if precision in found:
            return precision
    raise BundleError(
        f"{bundle.path} has graphs in {', '.join(found) or 'no precision'}, which do "
        f"not run on this {device}: add others with mms-export --precision {PREFERENCE[device][0]}"
    )
