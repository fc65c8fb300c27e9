"""What can go wrong, as one tree. Every message says what, where and what to do."""


class MmsError(Exception):
    """Root of all errors a caller of this library is expected to meet."""


class BundleError(MmsError):
    """A bundle cannot be used or written."""


class BundleFileMissing(BundleError, FileNotFoundError):
    """A file the manifest names, or the manifest itself, is not there."""


class BundleCorrupt(BundleError):
    """A bundle's content contradicts its manifest."""


class AudioError(MmsError):
    """A sound cannot be decoded, or is outside the limits."""


class LanguageError(MmsError, LookupError):
    """A language is unknown, or not in the bundle."""


class BackendError(MmsError):
    """No backend can run a graph, or running it failed."""


class StreamError(MmsError):
    """A stream cannot be fed, restored, or taken on."""


class DeviceMemoryError(BackendError):
    """A GPU has not enough memory."""


class DeviceLostError(BackendError):
    """A GPU failed in a way that ends its use by this process."""


class LanguageModelError(MmsError):
    """A language model, or a list of hotwords, cannot be used."""


class PlanError(MmsError):
    """A TensorRT plan cannot be built, or is not what it must be."""
