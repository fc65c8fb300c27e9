"""Fuzz targets: seed files, the mutations that fit them, and what reads the result."""

import bz2
import functools
import gzip
import io
import json
import lzma
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import mutations
import numpy as np

import mms_engine.audio.links  # noqa: F401 (otherwise imported by each process)
from lm_models import arpa, convert, estimate, random_text
from mms_engine import BeamSearch, Recognizer, RecognizerOptions
from mms_engine.audio import read_audio
from mms_engine.audio.limits import ReadOptions
from mms_engine.audio.read import AudioReader
from mms_engine.bundle import open_bundle
from mms_engine.cli.decoder_options import DecoderChoice
from mms_engine.cli.transcribe.recordings import from_table
from mms_engine.decoding.host import HostDecoders
from mms_engine.formats.registry import render_timed
from mms_engine.formats.timed_text import WORDS, Interval, Tier, TimedText
from mms_engine.text.vocabulary import Vocabulary
from mms_export.checkpoints.open import open_checkpoint, read_adapter
from mms_export.training.corpus.registry import read_corpus
from mms_export.training.texts import TextRules
from mms_export.training.vocabulary import encode
from sweep_sounds import KINDS, write

VOCABULARY = Vocabulary(("<pad>", "|", "<unk>", *"abcdefghijklmnopqrstuvwxyz'", "é", "ch"))
_HOTWORDS = "# names\nabba\nnew york\t8\nÉcole\t-2\n\nl\u2019été\t1e-3\nnot this\t-4\nßa\n"
_TABLE = "file\tlang\ttext\theld_out\na.wav\teng\thello there\t1\nb/c.wav\tswh\thabari\t\n"


@dataclass(frozen=True)
class Target:
    """A kind of file."""

    name: str
    seed: bytes
    mutations: tuple[mutations.Mutation, ...]
    use: Callable[[Path], None]
    """Reader of the damaged file; may raise `MmsError` and click's errors only."""
    read_whole: Callable[[Path], object] | None = None
    """Reader of the seed, which must succeed; `None` for the same one."""


def targets(folder: Path, checkpoint: Path, bundle: Path) -> list[Target]:
    """Return all targets.

    Args:
        folder: Empty folder for their seeds.
        checkpoint: Tiny checkpoint.
        bundle: Bundle that was exported from it.
    """
    return [
        *_audio(folder),
        *_models(folder),
        Target("hotwords", _HOTWORDS.encode(), _TEXT, _use_hotwords),
        Target("table", _TABLE.encode(), _TEXT, _use_table),
        *_corpora(folder),
        *_bundle(folder, bundle),
        *_checkpoint(folder, checkpoint),
    ]


_TEXT = (*(mutations.change_lines,) * 10, *mutations.BYTES)
_JSON = (*(mutations.change_json,) * 10, *mutations.BYTES)
_SAFETENSORS = (*(mutations.change_safetensors,) * 10, *mutations.BYTES)


def _audio(folder: Path) -> Iterator[Target]:
    for kind in KINDS:
        if kind.codec not in av.codecs_available:
            continue
        content = write(folder / kind.name, kind).read_bytes()
        yield Target(f"audio-{kind.name}", content, mutations.BYTES, _use_audio, read_audio)


def _use_audio(path: Path) -> None:
    generator = random.Random(path.read_bytes()[:4096])  # noqa: S311 (no secret)
    way = generator.randrange(4)
    if way == 0:
        read_audio(path)
    elif way == 1:
        with path.open("rb") as stream:
            read_audio(stream, allow_truncated=True)
    elif way == 2:
        read_audio(path, allow_truncated=True)
    else:
        pipe = io.BytesIO(path.read_bytes())
        pipe.seekable = lambda: False
        for _ in AudioReader(pipe, ReadOptions(allow_truncated=True), is_pipe=True):
            pass


def _models(folder: Path) -> Iterator[Target]:
    words = ["abba", "École", "été", "new", "YORK", "l\u2019eau", "ch", "xyz"]
    for order in (1, 2, 5):
        text = arpa(estimate(random_text(words, 30, order), order)).encode()
        yield Target(f"arpa-{order}", text, _TEXT, _use_model)
        source, compact = folder / "lm.arpa", folder / "lm.bin"
        source.write_bytes(text)
        convert(source, compact)
        yield Target(f"compact-{order}", compact.read_bytes(), mutations.BYTES, _use_model)
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        yield Target(f"arpa.{name}", pack(text), mutations.BYTES, _use_model)


def _decode(beam: BeamSearch) -> None:
    random_logits = np.random.default_rng(0).normal(0, 3, (30, len(VOCABULARY)))
    for unit_vocabulary in (VOCABULARY, Vocabulary(VOCABULARY.tokens[2:])):
        decoding = HostDecoders(beam).start("eng", unit_vocabulary)
        logits = random_logits[:, : len(unit_vocabulary)].astype(np.float32)
        decoding.step(np.ascontiguousarray(logits))
        decoding.finish()


def _use_model(path: Path) -> None:
    _decode(BeamSearch(lm=path, beam_size=8))


def _use_hotwords(path: Path) -> None:
    options = dict.fromkeys(DecoderChoice.__dataclass_fields__)
    options |= {"decoder": "beam", "hotwords": path}
    beam = DecoderChoice(**options).search()
    assert beam is not None
    _decode(beam)


def _use_table(path: Path) -> None:
    from_table(path, with_text=True)


def _corpora(folder: Path) -> Iterator[Target]:
    """Yield each format of corpora, of a recording that exists."""
    scratch = folder / "corpus"
    scratch.mkdir()
    (scratch / "talk.wav").touch()
    row = {"audio_filepath": "talk.wav", "text": "a b", "offset": 1.5, "duration": 2, "lang": "swh"}
    manifest = "".join(json.dumps(row | {"text": text}) + "\n" for text in ("a b", "ŋ", "x [y]"))
    words = tuple(Interval(text, n, n + 0.9) for n, text in enumerate(("a", "ŋɛ̃", "c d")))
    timed = TimedText("talk", str(scratch / "talk.wav"), "swh", 9.0, " ", (Tier(WORDS, words),))
    for name, file_name, text in (
        ("manifest", "m.jsonl", manifest),
        ("table", "t.tsv", 'client_id\tpath\tsentence\nX\ttalk.wav\tone "two\n'),
        ("audiofolder", "metadata.csv", 'file_name,text\ntalk.wav,"a, b"\n'),
        ("eaf", "talk.eaf", render_timed(timed, format_name="eaf")),
        ("textgrid", "talk.TextGrid", render_timed(timed, format_name="textgrid")),
    ):
        place = scratch / file_name
        use = _copying(functools.partial(_use_corpus, place), place)
        yield Target(f"corpus-{name}", text.encode(), _TEXT, use)


def _use_corpus(place: Path, _: Path) -> None:
    corpus = read_corpus(place)
    rules = TextRules(language="xyz")
    for clip in corpus.clips:
        assert 0 <= clip.start < (clip.end or 1e9)
        encode(rules.apply(clip.text), VOCABULARY)


def _bundle(folder: Path, bundle: Path) -> Iterator[Target]:
    scratch = Path(shutil.copytree(bundle, folder / "bundle"))
    adapter = scratch / "adapters" / "eng.safetensors"
    manifest = scratch / "manifest.json"
    written = json.loads(manifest.read_bytes())

    def use() -> None:
        options = RecognizerOptions(verify=False, device="cpu", threads=1)
        open_bundle(scratch).problems(verify=False)
        with Recognizer.open(scratch, options=options) as recognizer:
            samples = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
            recognizer.transcribe(samples, "eng")

    def use_manifest(path: Path) -> None:
        shutil.copyfile(path, manifest)
        use()

    def use_adapter(path: Path) -> None:
        shutil.copyfile(path, adapter)
        changed = json.loads(json.dumps(written))
        changed["data"]["eng"]["file"]["size"] = path.stat().st_size
        manifest.write_text(json.dumps(changed))
        use()

    # Each runs in a process of its own, so that the files are put back by the next one.
    yield Target("manifest", manifest.read_bytes(), _JSON, _restoring(use_manifest, adapter))
    yield Target("adapter", adapter.read_bytes(), _SAFETENSORS, _restoring(use_adapter, manifest))


def _checkpoint(folder: Path, checkpoint: Path) -> Iterator[Target]:
    scratch = Path(shutil.copytree(checkpoint, folder / "checkpoint"))
    names = {path.name: path for path in sorted(scratch.iterdir())}

    def use(_: Path) -> None:
        opened = open_checkpoint(str(scratch))
        for tensors in (
            opened.weights,
            *(read_adapter(a, opened.config) for a in opened.adapters.values()),
        ):
            for name in tensors.shapes:
                tensors.read(name)

    for name, path in names.items():
        if path.suffix not in (".json", ".safetensors"):
            continue
        kinds = _JSON if path.suffix == ".json" else _SAFETENSORS
        others = [other for other in names.values() if other != path]
        target = _copying(use, path)
        yield Target(f"checkpoint-{name}", path.read_bytes(), kinds, _restoring(target, *others))


def _copying(use: Callable[[Path], None], place: Path) -> Callable[[Path], None]:
    def copy_and_use(path: Path) -> None:
        shutil.copyfile(path, place)
        use(path)

    return copy_and_use


def _restoring(use: Callable[[Path], None], *others: Path) -> Callable[[Path], None]:
    """Return a reader that first puts other files back as they were."""
    kept = {other: other.read_bytes() for other in others}

    def restore_and_use(path: Path) -> None:
        for other, content in kept.items():
            other.write_bytes(content)
        use(path)

    return restore_and_use
