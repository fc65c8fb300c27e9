"""Reads a graph into TensorRT's network, and keeps what the library says on the way."""

import logging
from pathlib import Path
from typing import Any

from mms_engine.errors import PlanError
from mms_export.tensorrt.toolkit import Toolkit

logger = logging.getLogger(__name__)


def make_log(library: Any) -> Any:  # noqa: ANN401
    """Return a logger for a library that passes all on to `logging`; `errors` keeps the errors."""

    class Log(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            levels = library.ILogger.Severity
            serious = severity in (levels.ERROR, levels.INTERNAL_ERROR)
            if serious:
                self.errors.append(message)
            # Its warnings are about types and shapes that are checked here.
            logger.log(logging.INFO if serious else logging.DEBUG, message)

    return Log()


def read_network(toolkit: Toolkit, builder: Any, log: Any, path: Path) -> tuple[Any, Any]:  # noqa: ANN401
    """Read the `.onnx` at `path`, its weights beside it.

    Returns:
        The network, and the parser that holds its weights and must live as long.

    Raises:
        PlanError: the library does not understand the graph.
    """
    network = toolkit.create_network(builder)
    parser = toolkit.library.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reasons = [f"{error.node_operator()}: {error.desc()}" for error in errors]
        raise PlanError(
            f"{toolkit.runtime} {toolkit.version} cannot read {path}: "
            f"{'; '.join(reasons) or 'it does not say why'}"
        )
    return network, parser
