"""Writes a plan to its file while the library makes it: it never lies in memory beside itself."""

from typing import Any, BinaryIO

from mms_export.tensorrt.toolkit import Toolkit


def write_plan(toolkit: Toolkit, builder: Any, made_of: tuple[Any, Any], stream: BinaryIO) -> bool:  # noqa: ANN401
    """Build a plan into a file.

    Args:
        toolkit: The library.
        builder: Its builder.
        made_of: The network and the configuration.
        stream: Where the plan goes.

    Returns:
        Whether the library could build it; its log says why not.

    Raises:
        OSError: the file system refused.
    """
    if not hasattr(builder, "build_serialized_network_to_stream"):  # an older release
        plan = builder.build_serialized_network(*made_of)
        if plan is not None:
            stream.write(plan)
        return plan is not None
    writer = _make_writer(toolkit.library, stream)
    built = builder.build_serialized_network_to_stream(*made_of, writer)
    if writer.refusal is not None:
        raise writer.refusal
    return bool(built)


def _make_writer(library: Any, stream: BinaryIO) -> Any:  # noqa: ANN401
    """Return what a library hands the pieces of a plan to; `refusal` is why one was not written."""

    class Writer(library.IStreamWriter):  # type: ignore[misc]
        def __init__(self) -> None:
            library.IStreamWriter.__init__(self)
            self.refusal: OSError | None = None

        def write(self, piece: Any) -> int:  # noqa: ANN401
            # An exception would have to pass through the library.
            try:
                return stream.write(piece)
            except OSError as error:
                self.refusal = error
                return 0

    return Writer()
