"""Triton's model configuration as a protocol buffer, from its client's package."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf import text_format


@cache
def config_protos() -> ModuleType:
    """Return the generated module, without the package around it, which needs grpc."""
    client = importlib.util.find_spec("tritonclient")
    path = Path(client.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_config(model: Path) -> Any:
    """Parse the configuration of a model; an unknown field or a wrong type is an error."""
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, config_protos().ModelConfig())
