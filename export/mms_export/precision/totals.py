"""Sums up the ranges of a run."""

from mms_export.precision.places import KINDS, kinds
from mms_export.precision.ranges import Range, RangeObserver
from mms_export.precision.result import LayerRange


def layer_ranges(observer: RangeObserver) -> list[LayerRange]:
    """Return the ranges of an fp32 encoder by layer and kind."""
    places = kinds(observer.graph)
    found: dict[tuple[int, str], Range] = {}
    for name, (layer, kind) in places.items():
        found.setdefault((layer, kind), Range()).merge(observer.ranges[name])
    order = sorted(found, key=lambda place: (place[0], KINDS.index(place[1])))
    return [
        LayerRange(
            layer=layer,
            kind=kind,
            peak=found[layer, kind].peak,
            overflowing=found[layer, kind].overflowing / found[layer, kind].values,
            subnormal=found[layer, kind].subnormal / found[layer, kind].values,
        )
        for layer, kind in order
    ]


def totals(observer: RangeObserver) -> tuple[int, float]:
    """Return how many values overflowed, and the share that fell below the normal numbers."""
    ranges = observer.ranges.values()
    values = sum(entry.values for entry in ranges)
    subnormal = sum(entry.subnormal for entry in ranges)
    return sum(entry.overflowing for entry in ranges), subnormal / values if values else 0.0
