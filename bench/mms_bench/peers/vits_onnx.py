"""transformers' VitsModel exported by torch.onnx, in the forms that sherpa-onnx and piper read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mms_bench.peers.base import Setup, versions
from mms_bench.peers.onnx import GRAPH, cached

EXPORTS = ("onnx", "torch", "transformers")
"""Packages that the exported graph depends on."""
_EXAMPLE_TOKENS = 121


def sherpa_graph(setup: Setup, folder: Path) -> Path:
    """Return the graph of a voice's folder, with `tokens.txt` beside it."""

    def make(out: Path) -> None:
        import onnx

        _export(
            folder,
            out / GRAPH,
            ("x", "x_length", "noise_scale", "length_scale", "noise_scale_w"),
            # sherpa-onnx puts a blank more at each end than the tokenizer of the voice.
            lambda ids, _, noise, length, width: (ids[:, 1:-1], noise, length, width),
        )
        vocabulary, tokenizer = _documents(folder)
        lines = (f"{token} {number}" for token, number in vocabulary.items())
        (out / "tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        graph = onnx.load(out / GRAPH)
        facts = {
            "model_type": "vits",
            "comment": "mms",
            "language": tokenizer["language"],
            "add_blank": int(tokenizer["add_blank"]),
            "frontend": "characters",
            "n_speakers": 1,
            "sample_rate": _config(folder).get("sampling_rate", 16_000),
        }
        for key, value in facts.items():
            graph.metadata_props.add(key=key, value=str(value))
        onnx.save(graph, out / GRAPH)

    return cached(setup, f"sherpa-{folder.name}", versions(*EXPORTS), make)


def piper_graph(setup: Setup, folder: Path) -> Path:
    """Return the graph of a voice's folder, with its configuration beside it."""

    def make(out: Path) -> None:
        _export(
            folder,
            out / GRAPH,
            ("input", "input_lengths", "scales"),
            lambda ids, _, scales: (ids, scales[0], scales[1], scales[2]),
        )
        vocabulary, tokenizer = _documents(folder)
        numbers = {token: [number] for token, number in vocabulary.items()}
        document = {
            "audio": {"sample_rate": _config(folder).get("sampling_rate", 16_000)},
            "espeak": {"voice": tokenizer["language"]},
            "inference": {"noise_scale": 0.0, "length_scale": 1.0, "noise_w": 0.0},
            "phoneme_type": "text",
            "phoneme_id_map": {**numbers, "_": [0], "^": [], "$": []},
            "num_symbols": len(vocabulary),
            "num_speakers": 1,
        }
        (out / f"{GRAPH}.json").write_text(json.dumps(document), encoding="utf-8")

    return cached(setup, f"piper-{folder.name}", versions(*EXPORTS), make)


def _export(
    folder: Path, out: Path, names: tuple[str, ...], read: Callable[..., tuple[Any, ...]]
) -> None:
    """Export the whole model: ids, their number, and scales in the form that `read` takes."""
    import torch
    from transformers import VitsModel

    model = VitsModel.from_pretrained(folder, local_files_only=True).eval()

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            ids, noise, length, width = read(*inputs)
            model.noise_scale, model.noise_scale_duration = noise, width
            model.speaking_rate = 1.0 / length
            found: torch.Tensor = model(ids, attention_mask=torch.ones_like(ids)).waveform
            return found[:, None]

    one = torch.ones(1)
    ids = torch.ones(1, _EXAMPLE_TOKENS, dtype=torch.int64)
    count = torch.tensor([_EXAMPLE_TOKENS])
    scales = (one, one, one) if len(names) == 5 else (torch.ones(3),)
    torch.onnx.export(
        Whole().eval(),
        (ids, count, *scales),
        out,
        dynamo=False,  # the other exporter stops at the spline's boolean indices
        opset_version=17,
        input_names=list(names),
        output_names=["y"],
        dynamic_axes={names[0]: {1: "tokens"}, "y": {2: "samples"}},
    )
    _with_inputs(out, names[1])


def _with_inputs(path: Path, lengths: str) -> None:
    """Add the input of lengths, which the exporter leaves out because nothing reads it."""
    import onnx

    graph = onnx.load(path)
    if lengths not in [value.name for value in graph.graph.input]:
        added = onnx.helper.make_tensor_value_info(lengths, onnx.TensorProto.INT64, [1])
        graph.graph.input.insert(1, added)
    onnx.save(graph, path)


def _documents(folder: Path) -> tuple[dict[str, int], dict[str, Any]]:
    """Return the vocabulary, and the configuration of the tokenizer."""
    names = ("vocab.json", "tokenizer_config.json")
    read = [json.loads((folder / name).read_text(encoding="utf-8")) for name in names]
    return read[0], read[1]


def _config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found
