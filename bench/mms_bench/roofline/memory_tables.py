"""What languages take of a GPU's memory, as Markdown."""

from collections.abc import Iterable

from mms_bench.report import text
from mms_bench.report.content import Table
from mms_bench.report.markdown import table
from mms_bench.roofline.document import Memory, Roofline


def render_memory(roofline: Roofline) -> str:
    """Return what languages take of memory, and how many fit."""
    rows, seconds = roofline.question.memory_load
    widths = " and ".join(f"{vocab:,}" for vocab in roofline.question.vocabs)
    memory = (
        f"Memory of a device by number of resident languages, the bank's heads {widths} tokens "
        f"wide; room for runs of {rows} rows of {seconds:g} s, nothing fused, among it:"
    )
    residents = (
        "The most languages that stay resident beside all that, in fp16, and the time a language "
        "takes over the bus:"
    )
    parts = ((memory, _memory(roofline)), (residents, _residents(roofline)))
    return "\n\n".join(f"{words}\n\n{table(content)}" for words, content in parts)


def _memory(roofline: Roofline) -> Table:
    counts = roofline.question.languages
    head = (
        "precision",
        "heads",
        "weights",
        "one run",
        "a language",
        *(f"{n:,} languages" if n > 1 else "1 language" for n in counts),
    )
    return Table(head, tuple(_memory_row(item, counts) for item in roofline.memory))


def _memory_row(item: Memory, counts: Iterable[int]) -> tuple[str, ...]:
    found = item.footprint
    fixed = found.weights + found.activations
    return (
        item.precision,
        f"{item.vocab:,}",
        *(text.gigabytes(round(size)) for size in (found.weights, found.activations)),
        f"{found.language / 1e6:.1f} MB",
        *(text.gigabytes(round(fixed + count * found.language)) for count in counts),
    )


def _residents(roofline: Roofline) -> Table:
    half = [item for item in roofline.memory if item.precision == "fp16"]
    head = (
        "GPU",
        "memory",
        "kept free",
        *(f"languages, heads of {item.vocab:,}" for item in half),
        *(f"a language, {item.vocab:,}" for item in half),
    )
    rows = tuple(
        (
            gpu.name,
            f"{gpu.memory:g} GB",
            f"{gpu.reserve:g} GB",
            *(f"{item.footprint.languages(gpu):,}" for item in half),
            *(
                text.seconds(item.footprint.language / gpu.link / 1e9) if gpu.link else "shared"
                for item in half
            ),
        )
        for gpu in roofline.gpus
    )
    return Table(head, rows)
