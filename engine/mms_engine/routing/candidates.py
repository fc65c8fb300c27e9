"""Languages to choose from: labels of an identification model, and the adapter of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.errors import LanguageError
from mms_engine.languages import codes_of_label, nearest, resolve

Scores = npt.NDArray[np.float64]

_PREFERRED = {
    "cmn": "cmn-script_simplified",
    "kmr": "kmr-script_latin",
    "srp": "srp-script_latin",
    "urd": "urd-script_arabic",
    "uzb": "uzb-script_latin",
    "yue": "yue-script_traditional",
}
"""Script of languages with several, as in fairseq's `lid_rerank`; for others the first."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Languages to choose from."""

    labels: tuple[str, ...]
    """Labels of the identification model, in the order of its outputs."""
    codes: tuple[str | None, ...]
    """Code of each label's adapter; `None` for a language that the recogniser does not have."""
    outputs: tuple[int, ...]
    """Index of each label among the model's outputs."""

    def code(self, label: str) -> str | None:
        """Return the adapter of a label."""
        return self.codes[self.labels.index(label)]

    def log_probabilities(self, logits: npt.NDArray[np.floating]) -> Scores:
        """Return the log-probability of each candidate among them, `[N]`, of logits `[C]`."""
        own = logits[list(self.outputs)].astype(np.float64)
        own -= own.max()
        scores: Scores = own - np.log(np.exp(own).sum())
        return scores


def find_candidates(
    labels: Sequence[str],
    languages: Iterable[str],
    among: Iterable[str] | None = None,
    *,
    with_adapter: bool = False,
) -> Candidates:
    """Return the languages to choose from.

    Args:
        labels: Labels of the identification model, in the order of its outputs.
        languages: Codes of the recogniser.
        among: Codes, tags or names to choose from; `None` for all labels.
        with_adapter: Whether to leave out languages that the recogniser does not have.

    Raises:
        LanguageError: a language is unknown to either model, or none is left.
    """
    known = tuple(languages)
    if among is None:
        chosen = {label: _adapter(label, known) for label in labels}
    else:
        pairs = (_resolved(query, labels, known) for query in _queries(among))
        chosen = dict(pairs)
    if with_adapter:
        chosen = {label: code for label, code in chosen.items() if code is not None}
    if not chosen:
        raise LanguageError(
            "no languages to choose from: name those of the recogniser, such as auto:eng,fra"
        )
    outputs = [index for index, label in enumerate(labels) if label in chosen]
    names = tuple(labels[index] for index in outputs)
    return Candidates(names, tuple(chosen[name] for name in names), tuple(outputs))


def _queries(among: Iterable[str]) -> list[str]:
    queries = among.split(",") if isinstance(among, str) else among
    return [query.strip() for query in queries if query.strip()]


def _adapter(label: str, known: Sequence[str]) -> str | None:
    """Return the code of a label's adapter; the first, or the preferred script, of several."""
    codes = codes_of_label(label, known)
    preferred = _PREFERRED.get(label)
    return preferred if preferred in codes else next(iter(codes), None)


def _resolved(query: str, labels: Sequence[str], known: Sequence[str]) -> tuple[str, str | None]:
    """Return the label of a language and the code of its adapter."""
    try:
        code = resolve(query, known)
    except LanguageError as error:
        try:
            label = resolve(query, labels)
        except LanguageError:
            raise error from None  # the recogniser's languages are the nearer ones
        return label, _adapter(label, known)
    iso = code.partition("-")[0]
    found = [label for label in labels if code in codes_of_label(label, known)]
    if iso in found or found:
        return iso if iso in found else found[0], code
    near = ", ".join(nearest(code, labels, count=3))
    hint = f"; it knows {near}" if near else ""
    raise LanguageError(f"the identification model does not know {code}{hint}: give --lang {code}")
