"""Language identification: wav2vec 2.0 with a classifier, whose languages are in the graph."""

from mms_export.graphs.wav2vec2.classifier import build_classifier
from mms_export.graphs.wav2vec2.frontend import build_frontend
from mms_export.parity.comparison import Case, compare, reference_scores
from mms_export.parity.execution import graph_scores
from mms_export.tasks.task import GraphSpec, Task

LID = Task(
    graphs=(
        GraphSpec(name="frontend", build=build_frontend),
        GraphSpec(name="encoder", build=build_classifier, has_parity=True),
    ),
    model=lambda checkpoint: checkpoint.config,
    data=None,
    sample="ten seconds of speech",
    case=lambda checkpoint, _: Case(checkpoint.path, (), checkpoint.config.normalize),
    reference=reference_scores,
    outputs=graph_scores,
    compare=compare,
)
