"""Opened bundle: graphs, plans and data files, each checked before use."""

import contextlib
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from mms_engine.bundle.adapters import AdapterWeights, load_adapter, read_vocabulary
from mms_engine.bundle.files import ByteProgress, check, check_name
from mms_engine.bundle.manifest import (
    MANIFEST,
    MULTILINGUAL,
    DataFile,
    Graph,
    Manifest,
    Plan,
    Vits,
    Wav2Vec2,
    Wav2Vec2Classifier,
    Wav2Vec2Ctc,
    Wav2Vec2Pretrained,
    decode,
)
from mms_engine.bundle.verification import Verifier
from mms_engine.bundle.voices import VoiceWeights, load_voice
from mms_engine.errors import BundleCorrupt, BundleError, BundleFileMissing, LanguageError
from mms_engine.languages import nearest, resolve
from mms_engine.text.exemplars import letters_of
from mms_engine.text.scripts import (
    has_letter_of,
    script_of_code,
    scripts_of,
    tokens_of_script,
    written_languages,
)
from mms_engine.text.vocabulary import Vocabulary
from mms_engine.types import Precision

_EXAMPLES: dict[type, str] = {
    Wav2Vec2Ctc: ", such as that of mms-export --model facebook/mms-1b-all",
    Wav2Vec2Classifier: ", such as that of mms-export --model facebook/mms-lid-126",
    Wav2Vec2Pretrained: ", such as that of mms-export --model facebook/mms-300m",
    Vits: ", such as that of mms-export --model facebook/mms-tts --lang eng",
}
_Model = TypeVar("_Model", bound=Wav2Vec2 | Vits)


class Bundle:
    """A bundle on disk. Files other than the manifest are read on demand."""

    def __init__(self, path: Path, manifest: Manifest, *, verify: bool | None) -> None:
        self.path = path
        self.manifest = manifest
        self.verify = verify
        """Folder, as given to `open_bundle`."""
        self._verifier = Verifier(path, verify)

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}, {len(self.languages)} languages)"

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages, or labels of language identification, sorted."""
        model = self.manifest.model
        known = model.labels if isinstance(model, Wav2Vec2Classifier) else self.manifest.data
        return tuple(sorted({*known, *self._parts}))

    @property
    def only_language(self) -> str | None:
        """The language to take where none is named: the only one, or `MULTILINGUAL` for any."""
        if self._is_multilingual:
            return MULTILINGUAL
        return self.languages[0] if len(self.languages) == 1 else None

    @property
    def _is_multilingual(self) -> bool:
        """Whether languages other than those of the data files are parts of one vocabulary."""
        model = self.manifest.model
        return isinstance(model, Wav2Vec2Ctc) and model.text == "multilingual"

    @cached_property
    def _parts(self) -> dict[str, str]:
        """Languages whose script the vocabulary of a multilingual model has, with that script."""
        if not self._is_multilingual:
            return {}
        scripts = scripts_of(self.vocabulary(MULTILINGUAL).tokens)
        return {code: own for code, own in written_languages().items() if own in scripts}

    def _script(self, language: str) -> str:
        """Return the script to which a language restricts the vocabulary; empty for no restriction.

        Raises:
            LanguageError: it is neither a code of the table nor of the form `swh_Latn`.
        """
        if not self._is_multilingual or _normal(language) in self.manifest.data:
            return ""
        script = script_of_code(language)
        if not script:
            near = ", ".join(self._nearest(language))
            hint = f"did you mean {near}?" if near else "add its script, as in swh_Latn"
            raise LanguageError(f"{self.path} knows no script of the language {language!r}; {hint}")
        return script

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions of the graphs; of voices, those of most."""
        return self.precisions_of("")

    def precisions_of(self, model: str) -> tuple[Precision, ...]:
        """Return the precisions of the graphs of a key of `Manifest.models`, empty for `model`."""
        graphs = (graph for graph in self.manifest.graphs if graph.model == model)
        return tuple(dict.fromkeys(graph.precision for graph in graphs))

    def model(self, kind: type[_Model]) -> _Model:
        """Return the model, which must be of a kind such as `Wav2Vec2Ctc`.

        Raises:
            BundleError: the bundle is of another task.
        """
        model = self.manifest.model
        if not isinstance(model, kind):
            raise BundleError(
                f"{self.path} holds a {type(model).__name__} model, this task needs "
                f"{kind.__name__}: choose another bundle{_EXAMPLES.get(kind, '')}"
            )
        return model

    def voice_sizes(self, model: str) -> Vits:
        """Return the network sizes of a key of `Manifest.models`, empty for `model`.

        Raises:
            BundleError: the bundle is of another task.
        """
        return self.manifest.models[model] if model else self.model(Vits)

    def voices_of(self, model: str) -> dict[str, DataFile]:
        """Return the voices with the sizes of a key of `Manifest.models`, empty for `model`."""
        data = self.manifest.data.items()
        return {code: entry for code, entry in data if entry.model == model}

    def graph(self, name: str, precision: Precision) -> tuple[Graph, Path]:
        """Return a graph's entry and the path of its `.onnx`, with every file checked.

        Raises:
            BundleError: the graph is not in the bundle, or is damaged.
        """
        graph = self._graph(name, precision)
        paths = [self._verifier.check(file) for file in graph.files]
        return graph, paths[0]

    @contextlib.contextmanager
    def loading(
        self, name: str, precision: Precision, model: str = ""
    ) -> Iterator[tuple[Graph, Path]]:
        """Yield a graph's entry and the path of its `.onnx` to a block that loads it.

        The weights are hashed while the block loads them, if they have to be: what it made may be
        used when the block has ended without an error.

        Args:
            name: Name of the graph.
            precision: Precision of the graph.
            model: Key of `Manifest.models`; empty for `Manifest.model`.

        Raises:
            BundleError: the graph is not in the bundle, or is damaged.
        """
        graph = self._graph(name, precision, model)
        with self._verifier.beside(graph.files) as path:
            yield graph, path

    def _graph(self, name: str, precision: Precision, model: str = "") -> Graph:
        for graph in self.manifest.graphs:
            if (graph.name, graph.precision, graph.model) == (name, precision, model):
                return graph
        raise BundleError(
            f"{self.path} has no {precision} {name}, only {', '.join(self.precisions_of(model))}: "
            f"add it with mms-export --precision {precision}"
        )

    def plan_path(self, plan: Plan) -> Path:
        """Return the path of a plan's file, checked.

        Raises:
            BundleError: the file is missing or damaged.
        """
        return self._verifier.check(plan.file)

    def entry(self, language: str) -> DataFile:
        """Return the manifest entry of a language; its code may be in any normal form of Unicode.

        Raises:
            LanguageError: the bundle does not have it; the message names the nearest codes.
        """
        code = MULTILINGUAL if self._script(language) else _normal(language)
        entry = self.manifest.data.get(code)
        if entry is None:
            near = ", ".join(self._nearest(language))
            hint = f"did you mean {near}?" if near else "mms languages --in-bundle lists its own"
            raise LanguageError(f"{self.path} does not have the language {language!r}; {hint}")
        return entry

    def _nearest(self, language: str) -> list[str]:
        try:
            return [resolve(language, self.languages)]
        except LanguageError:
            return nearest(language, self.languages, count=3)

    def vocabulary(self, language: str) -> Vocabulary:
        """Return a language's vocabulary without reading its weights.

        The digest is checked when the weights are read, before they are used.

        Raises:
            LanguageError: the bundle does not have the language.
            BundleError: its file is missing or damaged.
        """
        entry = self.entry(language)
        whole = read_vocabulary(check(self.path, entry.file, verify=False))
        rows = self._rows(language, whole)
        return whole if rows is None else whole.part(rows)

    def vocab_size(self, language: str) -> int:
        """Return the number of tokens of a language; see `vocabulary`."""
        entry = self.entry(language)
        return len(self.vocabulary(language)) if self._script(language) else entry.vocab_size

    def adapter(self, language: str) -> AdapterWeights:
        """Read a language's weights.

        Raises:
            LanguageError: the bundle does not have the language.
            BundleCorrupt: the file is damaged, of another shape, or of another base model.
        """
        entry = self.entry(language)
        path = self._verifier.check(entry.file)
        weights = load_adapter(path)
        stored = MULTILINGUAL if self._script(language) else language
        self._check_adapter(path, stored, weights, entry.vocab_size)
        rows = self._rows(language, weights.vocabulary)
        return weights if rows is None else weights.part(_normal(language), rows)

    def _rows(self, language: str, vocabulary: Vocabulary) -> list[int] | None:
        """Return the tokens of a language among those of every language; `None` for all.

        Raises:
            LanguageError: there is no letter of its script.
        """
        script = self._script(language)
        if not script:
            return None
        tokens = vocabulary.tokens
        rows = tokens_of_script(tokens, script, letters_of(language, script))
        if not any(has_letter_of(tokens[row], script) for row in rows):
            raise LanguageError(
                f"{self.path} has no letter of the script {script}, in which {language} is written"
            )
        return rows

    def _check_adapter(
        self, path: Path, language: str, weights: AdapterWeights, vocab_size: int
    ) -> None:
        model = self.model(Wav2Vec2Ctc)
        if weights.fingerprint != self.manifest.source.fingerprint:
            raise BundleCorrupt(
                f"{path} belongs to another base model than {self.manifest.source.name}: "
                "export the bundle again"
            )
        if weights.language != _normal(language):
            raise BundleCorrupt(f"{path} holds {weights.language!r}, not {language!r}")
        expected = {
            "adapter": (model.adapter_parameters,),
            "head_weight": (vocab_size, model.hidden_size),
            "head_bias": (vocab_size,),
        }
        for name, shape in expected.items():
            array = getattr(weights, name)
            if array.shape != shape or array.dtype.name != self.manifest.data_dtype:
                raise BundleCorrupt(
                    f"{path}: {name} is {array.dtype}{list(array.shape)}, the manifest says "
                    f"{self.manifest.data_dtype}{list(shape)}: export the bundle again"
                )
        if len(weights.vocab) != vocab_size:
            raise BundleCorrupt(
                f"{path} names {len(weights.vocab)} tokens, its head has {vocab_size}"
            )

    def voice(self, code: str, *, quantized: bool = False) -> VoiceWeights:
        """Map the weights of a voice; each file's digest is checked before its first use.

        Args:
            code: Code of the voice.
            quantized: Whether the weights of the graphs of precision int8 are needed.

        Raises:
            LanguageError: the bundle does not have the voice.
            BundleCorrupt: a file is damaged, or of another bundle.
        """
        entry = self.entry(code)
        int8 = entry.int8 if quantized else None
        weights = load_voice(
            self._verifier.check(entry.file), None if int8 is None else self._verifier.check(int8)
        )
        if weights.voice.fingerprint != (entry.model or self.manifest.source.fingerprint):
            raise BundleCorrupt(
                f"{weights.path} belongs to another bundle than {self.path}: export it again"
            )
        if weights.voice.language != _normal(code):
            raise BundleCorrupt(f"{weights.path} holds {weights.voice.language!r}, not {code!r}")
        return weights

    def problems(self, *, verify: bool = True, progress: ByteProgress | None = None) -> list[str]:
        """Check every file and return one sentence per problem.

        Args:
            verify: Whether to check the SHA-256, not only the size.
            progress: Called with the number of bytes hashed since its last call.
        """
        found = []
        for file in self.manifest.files():
            try:
                if verify:
                    self._verifier.verify(file, progress)
                else:
                    check(self.path, file, verify=False)
            except BundleError as error:
                found.append(str(error))
        return found


def _normal(code: str) -> str:
    """Return a language code in the normal form of the manifest."""
    return unicodedata.normalize("NFC", code)


def open_bundle(path: str | Path, *, verify: bool | None = None) -> Bundle:
    """Open the bundle in folder `path`.

    Args:
        path: Folder that holds `manifest.json`.
        verify: `None` to check each file against its SHA-256 once, and to trust later that it is
            unchanged by its size, times and inode (`stamps`); true to check it anew; false not to.

    Raises:
        BundleFileMissing: the folder holds no bundle, or one whose export has not finished.
        BundleError: the bundle is of another schema, or its name is not UTF-8.
        BundleCorrupt: the manifest is damaged.
    """
    path = Path(path)
    check_name(path)
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise BundleFileMissing(
            f"{path} holds no {MANIFEST}: it is not a bundle, or its export was interrupted; "
            f"run mms-export --out {path} to make or finish it"
        )
    return Bundle(path, decode(manifest.read_bytes(), where=str(manifest)), verify=verify)
