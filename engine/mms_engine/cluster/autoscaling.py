"""Number of replicas by the load of the engines.

Ray's own policy counts open requests, of which an idle WebSocket is one.
"""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

METRIC = "load"
"""Metric that replicas report: share of what an engine sustains, above 1 where work waits."""
TARGET = 0.7
"""Load to keep each replica below."""


def replicas_for_load(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Return the number of replicas at which each has the target load; a policy of Ray Serve."""
    loads = (context.aggregated_metrics or {}).get(METRIC, {})
    if not loads:
        return context.target_num_replicas, {}
    # A replica that has not reported yet, as when it starts, counts as idle.
    wanted = math.ceil(sum(loads.values()) / TARGET - 1e-6)
    least, most = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return min(max(wanted, least, 1), most), {}
