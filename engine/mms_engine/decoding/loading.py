"""Choice of the decoder backend for an encoder."""

import importlib
import logging

from mms_engine.cuda.context import CudaDevice
from mms_engine.decoding.host import HostDecoders
from mms_engine.decoding.interface import DecoderBackend
from mms_engine.decoding.search import BeamConfig
from mms_engine.errors import BackendError, DeviceLostError

logger = logging.getLogger(__name__)


def open_decoders(host: HostDecoders, gpu: CudaDevice | None) -> DecoderBackend:
    """Return decoders that read logits where the encoder leaves them.

    Args:
        host: Decoders on the CPU, whose models the device shares.
        gpu: GPU that holds the logits (`Encoder.gpu`); `None` for host memory.

    Returns:
        Decoders on the GPU; `host` without one, or with a warning where the search does not run
        there.

    Raises:
        DeviceLostError: the GPU cannot be used any more.
    """
    if gpu is None:
        return host
    if not isinstance(host.config, BeamConfig | None):
        logger.warning("decoding on the CPU: a list of words is searched there only")
        return host
    module = importlib.import_module("mms_engine.decoding.device.decoders")
    try:
        decoders: DecoderBackend = module.DeviceDecoders(gpu, host.config)
    except DeviceLostError:
        raise
    except BackendError as error:
        logger.warning("decoding on the CPU: %s", error)
        return host
    return decoders
