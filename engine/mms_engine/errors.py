"""Errors of the engine, as one tree. A message names the cause, the place and the remedy."""


class MmsError(Exception):
    """Base of all errors that a caller of this library should expect."""


class BundleError(MmsError):
    """A bundle cannot be used or written."""


class BundleFileMissing(BundleError, FileNotFoundError):
    """The manifest, or a file it names, is missing."""


class BundleCorrupt(BundleError):
    """The content of a bundle contradicts its manifest."""


class AudioError(MmsError):
    """Audio cannot be decoded, or is outside the limits."""


class LanguageError(MmsError, LookupError):
    """A language is unknown, or not in the bundle."""


class BackendError(MmsError):
    """No backend can run a graph, or a run failed."""


class StreamError(MmsError):
    """A stream cannot be opened, fed or restored."""


class CapacityError(StreamError):
    """A pool, or the machine, has no room for another stream."""


class DeviceMemoryError(BackendError):
    """A GPU is out of memory."""


class DeviceLostError(BackendError):
    """A GPU failed in a way that ends its use by this process."""


class LanguageModelError(MmsError):
    """A language model, or a list of hotwords, cannot be used."""


class OutputError(MmsError):
    """A file that the user named cannot be written."""


class PlanError(MmsError):
    """A TensorRT plan cannot be built, or is invalid."""


class AlignmentError(MmsError):
    """A text cannot be aligned with an audio."""


class ServerError(MmsError):
    """A server cannot be reached, refused a request, or broke it off."""


class TextError(MmsError):
    """A text is not valid Unicode, over the limits, or cannot be written in a vocabulary."""
