"""Embeddings: hidden states of a pretrained wav2vec 2.0 network, which has no languages."""

from functools import partial

from mms_export.graphs.wav2vec2.classifier import build_embedding
from mms_export.graphs.wav2vec2.frontend import build_frontend
from mms_export.parity.comparison import DIRECTIONS, Case, compare, reference_hidden
from mms_export.parity.execution import graph_hidden
from mms_export.tasks.task import GraphSpec, Task

EMBEDDING = Task(
    graphs=(
        GraphSpec(name="frontend", build=build_frontend),
        GraphSpec(name="encoder", build=build_embedding, has_parity=True),
    ),
    model=lambda checkpoint: checkpoint.config,
    data=None,
    sample="ten seconds of speech",
    case=lambda checkpoint, _: Case(checkpoint.path, (), checkpoint.config.normalize),
    reference=reference_hidden,
    outputs=graph_hidden,
    compare=partial(compare, measure=DIRECTIONS),
)
