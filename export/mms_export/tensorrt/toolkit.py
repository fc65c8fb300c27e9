"""Builder libraries `tensorrt` and `tensorrt_rtx`, and the differences between them."""

import importlib
from dataclasses import dataclass
from typing import Any

from mms_engine.backends.probes import MODULES
from mms_engine.bundle.manifest import Runtime
from mms_engine.cuda.driver import cuda_driver
from mms_engine.errors import PlanError
from mms_engine.types import Precision

RTX: Runtime = "tensorrt-rtx"
RTX_CAPABILITIES = ("8.6", "8.9", "12.0")
"""Default compute capabilities of RTX plans: the RTX 30, 40 and 50 series."""
BFLOAT16_FROM = (8, 0)
"""First compute capability with bfloat16."""
_EXTRAS: dict[Runtime, str] = {"tensorrt": "gpu", RTX: "rtx"}


@dataclass(frozen=True, slots=True)
class Toolkit:
    """A builder library."""

    runtime: Runtime
    library: Any
    """The module, `tensorrt` or `tensorrt_rtx`."""

    @property
    def version(self) -> str:
        """Release of the library."""
        return str(self.library.__version__)

    def create_network(self, builder: Any) -> Any:  # noqa: ANN401
        """Return an empty strongly typed network."""
        flags = self.library.NetworkDefinitionCreationFlag
        # Releases whose networks are always strongly typed may lack the flag.
        strong = getattr(flags, "STRONGLY_TYPED", None)
        return builder.create_network(0 if strong is None else 1 << int(strong))

    def conserve_memory(self, config: Any) -> None:  # noqa: ANN401
        """Let runs take the scratch memory of their shapes, and only what they are given.

        Without the preview feature, a clip of one second takes that of the longest. TensorRT for
        RTX would otherwise allocate within a run, where no CUDA graph may be captured.
        """
        resize = getattr(self.library.PreviewFeature, "RUNTIME_ACTIVATION_RESIZE_10_10", None)
        if resize is not None:  # since 10.10
            config.set_preview_feature(resize, True)
        own = getattr(self.library.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)
        if own is not None:
            config.set_flag(own)

    def aim(self, config: Any, capabilities: tuple[str, ...]) -> None:  # noqa: ANN401
        """Set the GPUs to build for; `tensorrt` builds for the one in this machine."""
        if self.runtime != RTX:
            return
        config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            name = f"SM{capability.replace('.', '')}"
            member = getattr(self.library.ComputeCapability, name)
            if not config.set_compute_capability(member, index):
                raise PlanError(f"{RTX} {self.version} refused compute capability {capability}")


def open_toolkit(runtime: Runtime) -> Toolkit:
    """Load a builder library.

    Raises:
        PlanError: it is not installed, or does not load.
    """
    try:
        library = importlib.import_module(MODULES[runtime])
    except (ImportError, OSError) as error:
        raise PlanError(
            f"{runtime} cannot be loaded ({error}): pip install 'mms-engine[{_EXTRAS[runtime]}]'"
        ) from error
    return Toolkit(runtime, library)


def choose_capabilities(
    toolkit: Toolkit, asked: tuple[str, ...], precisions: tuple[Precision, ...]
) -> tuple[str, ...]:
    """Return the compute capabilities to build for, in ascending order.

    Args:
        toolkit: Builder library.
        asked: Capabilities requested; empty for the default.
        precisions: Precisions of the plans.

    Raises:
        PlanError: the library, this machine or a precision does not support one of them.
    """
    possible = _rtx_capabilities(toolkit) if toolkit.runtime == RTX else _present_capability()
    chosen = asked or (RTX_CAPABILITIES if toolkit.runtime == RTX else possible)
    for capability in chosen:
        if capability not in possible:
            raise PlanError(
                f"{toolkit.runtime} {toolkit.version} builds for compute capability "
                f"{', '.join(possible)} here, not for {capability}"
            )
        if "bf16" in precisions and _numbers(capability) < BFLOAT16_FROM:
            raise PlanError(
                f"compute capability {capability} has no bfloat16: leave it out of --sm, "
                "or bf16 out of --precision"
            )
    return tuple(sorted(set(chosen), key=_numbers))


def _rtx_capabilities(toolkit: Toolkit) -> tuple[str, ...]:
    names = (name for name in dir(toolkit.library.ComputeCapability) if name.startswith("SM"))
    return tuple(sorted((f"{name[2:-1]}.{name[-1]}" for name in names), key=_numbers))


def _present_capability() -> tuple[str, ...]:
    driver = cuda_driver()
    if not driver.devices:
        raise PlanError(
            f"tensorrt builds plans on the GPU they are for, and {driver.reason}: run this on the "
            f"target, or build with --engine {RTX}, which needs no GPU"
        )
    return driver.capabilities[:1]


def _numbers(capability: str) -> tuple[int, ...]:
    return tuple(map(int, capability.split(".")))
