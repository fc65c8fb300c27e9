"""Checks of the checkpoints that are here or can be fetched, and of the default models."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from mms_bench.acceptance.golden import compare_golden, read_golden
from mms_bench.errors import BenchError
from mms_bench.run import commands
from mms_bench.run.result import load
from mms_bench.suites.accuracy.corpora import FLEURS_CODES
from mms_bench.suites.accuracy.hub import fleurs_file
from mms_engine.errors import MmsError
from mms_engine.languages import all_languages, resolve
from mms_export.checkpoints.open import DEMO, DEMO_LID, DEMO_VOICE

MMS = "facebook/mms-1b-all"
CHECKPOINTS = {"identification": "facebook/mms-lid-126", "speech": "facebook/mms-tts-eng"}
MAX_DIFFERENCE = 0.002
"""Largest difference of the engine's character error rate from that of transformers."""
_PUBLISHED = Path(__file__).with_name("published.toml")


Status = Literal["passed", "failed", "not fetched"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a check."""

    check: str
    status: Status
    reason: str = ""


@dataclass(slots=True)
class Acceptance:
    """The checks, in order; each yields its outcomes."""

    model: str
    """Checkpoint of mms-1b-all: a folder or a hub id."""
    golden: Path
    """Folder of its golden output."""
    limit: int | None
    """Most clips of a language of FLEURS."""
    tell: Callable[[str], None]
    """Receives lines of progress."""
    folder: Path = field(init=False)

    def run(self) -> Iterator[Outcome]:
        """Yield the outcome of each check."""
        with tempfile.TemporaryDirectory(prefix="mms-accept-") as folder:
            self.folder = Path(folder)
            yield from self._defaults()
            bundle, missing = self._export(self.model, ",".join(["eng", *_fleurs_languages()]))
            if bundle is None:
                yield Outcome(f"golden output of {MMS}", "not fetched", missing)
                yield Outcome("FLEURS, ten languages", "not fetched", missing)
            else:
                yield self._golden(bundle)
                yield from self._fleurs(bundle)
            for task, model in CHECKPOINTS.items():
                exported, missing = self._export(model, "")
                status: Status = "not fetched" if exported is None else "passed"
                yield Outcome(f"{task}: export of {model}, parity checked", status, missing)

    def _defaults(self) -> Iterator[Outcome]:
        """Export the default models, and compare the recogniser with transformers."""
        for model in (DEMO, DEMO_LID, DEMO_VOICE):
            bundle, reason = self._export(model, "")
            name = f"default model {model}: export, parity checked"
            yield Outcome(name, "failed" if bundle is None else "passed", reason)
            if model == DEMO and bundle is not None:
                yield self._against_transformers(bundle)

    def _export(self, model: str, languages: str) -> tuple[Path | None, str]:
        """Return the bundle of a checkpoint, or `None` and the reason why there is none."""
        bundle = self.folder / Path(model).name
        self.tell(f"exporting {model}")
        words = ["mms-export", "--model", model, "--precision", "fp32", "--out", str(bundle)]
        words += ["--lang", languages] if languages else []
        words[0] = commands.script(words[0])
        done = subprocess.run([*words, "--quiet"], capture_output=True, text=True, check=False)
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return (None, last[0].removeprefix("Error: ")) if done.returncode else (bundle, "")

    def _against_transformers(self, bundle: Path) -> Outcome:
        check = "default model demo: error rates of the engine and of transformers agree"
        words = ("--models", str(bundle), "--peers", "ours-fp32,transformers")
        figures, reason = self._rates(words)
        if reason:
            return Outcome(check, "failed", reason)
        ours, theirs = (figures[peer, "mean"]["cer"] for peer in ("ours-fp32", "transformers"))
        status: Status = "passed" if abs(ours - theirs) <= MAX_DIFFERENCE else "failed"
        return Outcome(check, status, f"CER {ours:.2%} and {theirs:.2%}")

    def _golden(self, bundle: Path) -> Outcome:
        check = f"golden output of {MMS}"
        try:
            golden = read_golden(self.golden)
        except MmsError as error:
            return Outcome(check, "not fetched", str(error))
        found = compare_golden(bundle, golden)
        return Outcome(check, "failed" if found else "passed", "; ".join(found))

    def _fleurs(self, bundle: Path) -> Iterator[Outcome]:
        """Compare error rates with the published ones; the interval decides."""
        codes, languages = published(), _fleurs_languages()
        for (code, limit), language in zip(codes.items(), languages, strict=True):
            check = f"FLEURS {code}: WER at most the published {limit:.2%}"
            try:
                fleurs_file(code, "test.tsv")
                fleurs_file(code, "audio/test.tar.gz")
            except BenchError as error:
                yield Outcome(check, "not fetched", str(error))
                continue
            words = ["--data", f"fleurs:{code}", "--models", str(bundle), "--peers", "ours-fp32"]
            words += ["--limit", str(self.limit)] if self.limit else []
            figures, reason = self._rates(words)
            if reason:
                yield Outcome(check, "failed", reason)
                continue
            own = figures["ours-fp32", language]
            wer, low, high = (own[name] for name in ("wer", "wer_low", "wer_high"))
            status: Status = "passed" if low <= limit else "failed"
            yield Outcome(check, status, f"WER {wer:.1%} ({low:.1%} to {high:.1%})")

    def _rates(
        self, words: tuple[str, ...] | list[str]
    ) -> tuple[dict[tuple[str, str], dict[str, float]], str]:
        """Return the figures of the suite accuracy by peer and language, or a reason."""
        out = self.folder / "accuracy.json"
        self.tell(f"mms-bench run accuracy {' '.join(words)}")
        command = [commands.script("mms-bench"), "run", "accuracy", *words, "--json", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {}, (done.stderr.strip().splitlines() or ["it failed"])[-1]
        rows = load(out).rows
        reasons = [row.reason for row in rows if row.status != "ok"]
        found = {(row.implementation, row.series): row.figures for row in rows}
        return found, "; ".join(reasons)


def published() -> dict[str, float]:
    """Return the published word error rates by FLEURS's codes."""
    found = msgspec.toml.decode(_PUBLISHED.read_bytes(), type=dict[str, dict[str, float]])
    return found["wer"]


def _fleurs_languages() -> list[str]:
    known = [language.code for language in all_languages("asr") if language.in_fl102]
    return [resolve(FLEURS_CODES.get(code, code), known) for code in published()]
