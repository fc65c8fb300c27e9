"""Plan files, streamed to disk while the library builds, without a copy in memory."""

from typing import IO, Any

from mms_engine.errors import MmsError
from mms_export.tensorrt.toolkit import Toolkit


def write_plan(toolkit: Toolkit, builder: Any, build: tuple[Any, Any], stream: IO[bytes]) -> bool:  # noqa: ANN401
    """Build a plan into a file.

    Args:
        toolkit: Builder library.
        builder: Its builder.
        build: Network and configuration.
        stream: File of the plan.

    Returns:
        Whether the build succeeded; otherwise the library's log holds the reason.

    Raises:
        OSError: the file system refused; `MmsError` from a stream of the engine's writer.
    """
    if not hasattr(builder, "build_serialized_network_to_stream"):  # an earlier release
        plan = builder.build_serialized_network(*build)
        if plan is not None:
            stream.write(plan)
        return plan is not None
    writer = _make_writer(toolkit.library, stream)
    built = builder.build_serialized_network_to_stream(*build, writer)
    if writer.refusal is not None:
        raise writer.refusal
    return bool(built)


def _make_writer(library: Any, stream: IO[bytes]) -> Any:  # noqa: ANN401
    """Return a writer for the library, which stores an error in `refusal`."""

    class Writer(library.IStreamWriter):  # type: ignore[misc]
        def __init__(self) -> None:
            library.IStreamWriter.__init__(self)
            self.refusal: OSError | MmsError | None = None

        def write(self, piece: Any) -> int:  # noqa: ANN401
            # An exception must not propagate through the library.
            try:
                return stream.write(piece)
            except (OSError, MmsError) as error:
                self.refusal = error
                return 0

    return Writer()
