"""The two graphs and the bank together: samples in, logits out."""

import importlib
import logging
from collections.abc import Sequence
from typing import Any

from mms_engine.backends import BACKENDS, Choice, Session, SessionOptions, available, open_session
from mms_engine.backends import rank as rank_backends
from mms_engine.backends.session import GraphFile
from mms_engine.bank.bank import AdapterBank, BankOptions, slots_within
from mms_engine.bank.host import HostRows
from mms_engine.bundle.reader import Bundle
from mms_engine.bundle.schema import Graph, Precision, Stage
from mms_engine.emission import Segment
from mms_engine.encoder import Encoder, HostEncoder
from mms_engine.errors import BackendError, BundleCorrupt, BundleError
from mms_engine.frames import FrameGeometry
from mms_engine.options import RecognizerOptions
from mms_engine.tensorrt.choose import NoPlan
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Float32Array

logger = logging.getLogger(__name__)

# ONNX Runtime has no bf16 kernels for CPUs; fp16 runs there, but no faster than fp32.
PREFERENCE: dict[str, tuple[Precision, ...]] = {
    "cpu": ("fp32", "int8", "fp16"),
    "cuda": ("fp16", "bf16", "fp32", "int8"),
}
_ITEMSIZE = {"float32": 4, "float16": 2, "bfloat16": 2}
_HOST_BANK_BYTES = 1 << 30


class AcousticModel:
    """A bundle's frontend and encoder, loaded. Methods may be called from several threads."""

    def __init__(self, bundle: Bundle, encoder: Encoder) -> None:
        self.bundle = bundle
        self.geometry = FrameGeometry.of(bundle.manifest.architecture)
        self.encoder = encoder

    @property
    def bank(self) -> AdapterBank[Any]:
        """The languages that are resident."""
        return self.encoder.bank

    @property
    def device(self) -> str:
        """Where the encoder runs: `cpu` or `cuda`."""
        return self.encoder.device

    @property
    def frame_seconds(self) -> float:
        """Seconds from the beginning of a frame to that of the next."""
        return self.geometry.stride / self.bundle.manifest.sample_rate

    def vocabulary(self, language: str) -> Vocabulary:
        """Return a language's tokens, which brings its adapter into the bank.

        Raises:
            LanguageError: the bundle does not have it.
            BundleError: its file is damaged.
        """
        with self.bank.acquire([language]) as residents:
            return residents[language].vocabulary

    def logits(self, segments: Sequence[Segment]) -> list[Float32Array]:
        """Run segments as one batch, and bring their logits to the host.

        Returns:
            For each, shape `[T, V]` with its own frames and its own language's V.

        Raises:
            BackendError: the device failed.
        """
        with self.encoder.emission(segments) as emission:
            return emission.rows()

    def close(self) -> None:
        """Free the graphs."""
        self.encoder.close()


def load_acoustic_model(bundle: Bundle, options: RecognizerOptions) -> AcousticModel:
    """Choose a backend and a precision and load both graphs.

    With `device="auto"`, a backend that cannot run this bundle is passed over with a warning.

    Raises:
        BundleError: the bundle lacks the precision, or it is damaged.
        BackendError: no backend can run it.
    """
    choices = rank_backends(options.device, available(), options.backend)
    for number, choice in enumerate(choices):
        try:
            return AcousticModel(bundle, _load(bundle, choice, options))
        except BackendError as error:
            if number + 1 == len(choices):
                raise BackendError(f"{error} (chosen: {choice.reason})") from error
            # A bundle without plans is nothing to be warned of.
            level = logging.INFO if isinstance(error, NoPlan) else logging.WARNING
            logger.log(level, "not %s, which is tried first: %s", choice.backend, error)
    raise AssertionError("rank returns at least one choice")


def _load(bundle: Bundle, choice: Choice, options: RecognizerOptions) -> Encoder:
    runtime = BACKENDS[choice.backend].runtime
    if runtime is None:
        return _load_host_encoder(bundle, choice, options)
    module = importlib.import_module("mms_engine.cuda.loading")
    encoder: Encoder = module.load_device_encoder(bundle, options, runtime)
    return encoder


def _load_host_encoder(bundle: Bundle, choice: Choice, options: RecognizerOptions) -> HostEncoder:
    precision = choose_precision(bundle, options.precision, choice.device)
    frontend, _ = _open(bundle, "frontend", precision, choice, options)
    encoder, graph = _open(bundle, "encoder", precision, choice, options)
    try:
        sizes = _bank_options(bundle, graph, options.bank_bytes or _HOST_BANK_BYTES)
        bank = AdapterBank(bundle.adapter, sizes, HostRows(sizes))
        geometry = FrameGeometry.of(bundle.manifest.architecture)
        return HostEncoder(
            frontend,
            encoder,
            bank,
            geometry,
            lambda stage, threads: _open(bundle, stage, precision, choice, options, threads)[0],
        )
    except (ValueError, MemoryError) as error:
        raise BundleCorrupt(
            f"{bundle.path}: the sizes in its manifest are impossible ({error}): "
            "export the bundle again"
        ) from error


def choose_precision(bundle: Bundle, wanted: Precision | None, device: str) -> Precision:
    """Return `wanted`, or the best precision of the bundle for `device`.

    Raises:
        BundleError: the bundle has no graphs, or not the wanted ones.
    """
    if wanted is not None:
        if wanted not in bundle.precisions:
            raise BundleError(
                f"{bundle.path} has no {wanted} graphs, only {', '.join(bundle.precisions)}: "
                f"add them with mms-export --precision {wanted}"
            )
        return wanted
    for precision in PREFERENCE[device]:
        if precision in bundle.precisions:
            return precision
    raise BundleError(
        f"{bundle.path} has graphs in {', '.join(bundle.precisions) or 'no precision'}, which do "
        f"not run on this {device}: add others with mms-export --precision {PREFERENCE[device][0]}"
    )


def _open(
    bundle: Bundle,
    stage: Stage,
    precision: Precision,
    choice: Choice,
    options: RecognizerOptions,
    threads: int | None = None,
) -> tuple[Session, Graph]:
    graph, path = bundle.graph(stage, precision)
    run = SessionOptions(threads=options.threads if threads is None else threads)
    return open_session(choice, GraphFile(graph, path), run), graph


def _bank_options(bundle: Bundle, encoder: Graph, budget: int) -> BankOptions:
    architecture = bundle.manifest.architecture
    adapters = bundle.manifest.adapters.values()
    dtype = next((tensor.dtype for tensor in encoder.inputs if tensor.name == "adapters"), None)
    if dtype not in _ITEMSIZE:
        raise BundleCorrupt(f"{bundle.path}: the encoder's input `adapters` is {dtype}")
    slots = slots_within(
        budget,
        adapter_parameters=architecture.adapter_parameters,
        hidden_size=architecture.hidden_size,
        vocab=max((adapter.vocab_size for adapter in adapters), default=1),
        itemsize=_ITEMSIZE[dtype],
    )
    return BankOptions(
        adapter_parameters=architecture.adapter_parameters,
        hidden_size=architecture.hidden_size,
        dtype=dtype,
        slots=max(1, min(slots, len(adapters))),
    )
