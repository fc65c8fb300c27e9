"""TensorRT networks, parsed from graphs, and the library's log."""

import logging
from pathlib import Path
from typing import Any

from mms_engine.errors import PlanError
from mms_export.tensorrt.toolkit import Toolkit

logger = logging.getLogger(__name__)


def make_log(library: Any) -> Any:  # noqa: ANN401
    """Return a library logger that forwards to `logging` and collects errors in `errors`."""

    class Log(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            levels = library.ILogger.Severity
            serious = severity in (levels.ERROR, levels.INTERNAL_ERROR)
            if serious:
                self.errors.append(message)
            # Types and shapes, the subject of its warnings, are checked by `checks`.
            logger.log(logging.INFO if serious else logging.DEBUG, message)

    return Log()


def read_network(toolkit: Toolkit, builder: Any, log: Any, path: Path) -> tuple[Any, Any]:  # noqa: ANN401
    """Parse the `.onnx` at `path`.

    Returns:
        The network, and the parser, which holds its weights and must live as long.

    Raises:
        PlanError: the library does not support the graph.
    """
    network = toolkit.create_network(builder)
    parser = toolkit.library.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reasons = [f"{error.node_operator()}: {error.desc()}" for error in errors]
        raise PlanError(
            f"{toolkit.runtime} {toolkit.version} cannot read {path}: "
            f"{'; '.join(reasons) or 'no reason given'}"
        )
    return network, parser
