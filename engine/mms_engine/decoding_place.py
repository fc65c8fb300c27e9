"""Where decoding is done: beside the encoder's logits, if it can be."""

import logging
from typing import TYPE_CHECKING

from mms_engine.acoustic import Encoder
from mms_engine.decoders import Decoders, HostDecoders
from mms_engine.errors import BackendError
from mms_engine.options import RecognizerOptions
from mms_engine.searches import Searches

if TYPE_CHECKING:
    from mms_engine.cuda.context import CudaDevice

logger = logging.getLogger(__name__)


def open_decoders(options: RecognizerOptions, searches: Searches, encoder: Encoder) -> Decoders:
    """Return decoders on the device where the encoder leaves its logits, or on the host.

    What keeps them from the device is a warning: the text is the same, and all logits are copied.
    """
    device = _device_of(encoder)
    if device is None:
        return HostDecoders(options, searches)
    from mms_engine.cuda.decode import DeviceDecoders
    from mms_engine.cuda.modules import Kernels

    try:
        with device.active("loading the kernels"):
            kernels = Kernels(device)
        return DeviceDecoders(device, kernels, options, searches)
    except BackendError as error:
        logger.warning("logits are decoded on the CPU: %s", error)
        return HostDecoders(options, searches)


def _device_of(encoder: Encoder) -> "CudaDevice | None":
    """Return the device that the encoder's logits stay on; None where the host gets them."""
    if encoder.device != "cuda":
        return None
    from mms_engine.cuda.encoder import DeviceEncoder

    return encoder.gpu if isinstance(encoder, DeviceEncoder) else None
