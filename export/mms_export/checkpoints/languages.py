"""Languages of a transformers folder: adapter files, and the head among the base weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mms_engine.bundle.manifest import UROMAN_LANGUAGE, Wav2Vec2Ctc
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import AdapterFile
from mms_export.checkpoints.documents import read_json, read_model_card
from mms_export.checkpoints.files import open_tensors, renamed
from mms_export.checkpoints.names import adapter_shapes, check_shapes, neutral
from mms_export.checkpoints.selection import (
    UNKNOWN_LANGUAGE,
    checked_code,
    matching,
    normal_code,
    single_code,
)
from mms_export.checkpoints.tokenizer import FILES, Labels, Tokenizer, read_tokenizer
from mms_export.checkpoints.weights import Weights

_VOCAB = "vocab.json"
_ADAPTER = re.compile(r"adapter\.(?P<language>.+)\.(?:safetensors|bin)")
_CARD_CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)?")


def sidecar_path(adapter: Path) -> Path:
    """Return the path of the document in which mms-train describes an adapter file."""
    return adapter.with_suffix(".json")


@dataclass(slots=True)
class Languages:
    """Languages found so far."""

    path: Path
    config: Wav2Vec2Ctc
    tokenizer: Tokenizer
    vocabs: Mapping[str, Mapping[str, Any]]
    """Ids of tokens by language; a single vocabulary for all is that of the empty code."""
    blank: int | None
    """`pad_token_id` of config.json."""
    asked: str
    """Languages to export, in the syntax of `--lang`."""
    adapters: dict[str, AdapterFile] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    """Reasons by language."""
    warnings: list[str] = field(default_factory=list)

    @property
    def _is_nested(self) -> bool:
        return "" not in self.vocabs

    def add_files(self) -> None:
        """Add the languages of the files `adapter.{lang}.*`."""
        names = sorted(self.path.glob("adapter.*"), reverse=True)  # safetensors before .bin
        own = [(m["language"], f) for f in names if (m := _ADAPTER.fullmatch(f.name))]
        if self.config.adapter_parameters:
            for code, file in own:
                self._add_file(normal_code(code), file)
        elif own:
            reason = "the model has no adapters (adapter_attn_dim in config.json)"
            self.warnings.append(f"{own[0][1]} is ignored: {reason}")

    def _add_file(self, code: str, file: Path) -> None:
        """Add the language of an adapter file, or the reason why it cannot be exported."""
        if code in self.adapters:
            return
        try:
            checked_code(code)
            if matching(self.asked, [code]):
                labels = self._labels(renamed(open_tensors([file]), neutral), code, file)
            else:  # not opened: there may be a thousand
                vocab = self._vocab(code)
                size = max(vocab.values(), default=0) + 1
                labels = self.tokenizer.labels(vocab, size, self.blank, where=str(file))
        except MmsError as error:
            self.unusable.setdefault(code, str(error))
            return
        self.unusable.pop(code, None)
        self._add(code, (file,), labels)

    def add_inner(self, inner: Weights, files: list[Path]) -> None:
        """Add the language of the adapter or head among the base weights.

        Args:
            inner: Language tensors among the base weights.
            files: Files of the base weights.

        Raises:
            MmsError: it cannot be exported, and there is no other.
        """
        has_adapter = any(".adapter_layer." in name for name in inner.shapes)
        if has_adapter and not self.config.adapter_parameters:
            raise MmsError(
                f"{self.path / 'config.json'}: adapter_attn_dim is missing, but the weights hold "
                "language adapters: it has to be the number of rows of their linear_1.weight"
            )
        code = self._inner_code()
        if code in self.unusable:
            return  # its file may be another training than this copy
        if self.adapters and (not code or code in self.adapters or not has_adapter):
            return  # a copy, or a head of whatever the model was before
        try:
            labels = self._labels(inner, code, files[0])
        except MmsError as error:
            if not self.adapters:
                raise
            self.unusable[code] = str(error)
            return
        if self.blank not in (None, labels.rows[0]):
            self.warnings.append(
                f"{self.path}: pad_token_id is {self.blank} in config.json, but the tokenizer's "
                f"blank is row {labels.rows[0]}, which is used, as in transformers"
            )
        if labels.is_uroman:
            code = UROMAN_LANGUAGE
        elif not self._is_nested:
            code = self._unnamed_code()
        self._add(checked_code(code), tuple(files), labels)

    def _inner_code(self) -> str:
        """Return the code of the base weights' language; empty where vocab.json names none."""
        if not self._is_nested:
            return ""
        named = (self.tokenizer.target_lang, single_code(self.asked))
        code = next((code for code in named if code in self.vocabs), None)
        if code is None and len(self.vocabs) == 1:
            code = next(iter(self.vocabs))
        return code or ""

    def _unnamed_code(self) -> str:
        """Return the code of a model whose vocabulary does not name its language."""
        card = read_model_card(self.path).get("language", "")
        named = single_code(self.asked) or self.tokenizer.target_lang
        code = named or (card if _CARD_CODE.fullmatch(card) else "")
        if not code:
            self.warnings.append(
                f"{self.path} does not name its language, which is exported as "
                f"{UNKNOWN_LANGUAGE}: name it with --lang CODE"
            )
        return code or UNKNOWN_LANGUAGE

    def _add(self, code: str, files: tuple[Path, ...], labels: Labels) -> None:
        described_by = tuple(self.path / name for name in (_VOCAB, *FILES))
        sidecar = sidecar_path(files[0])
        is_trained = _ADAPTER.fullmatch(files[0].name) and sidecar.is_file()
        trained = read_json(sidecar) if is_trained else {}
        self.adapters[code] = AdapterFile(
            code, files, "transformers", labels, described_by, str(trained.get("base_sha256", ""))
        )

    def _vocab(self, code: str) -> Mapping[str, int]:
        """Return the ids of a language's tokens."""
        where = self.path / _VOCAB
        vocab = self.vocabs.get(code if self._is_nested else "")
        if vocab is None and not code:
            raise MmsError(
                f"{where} has several languages, of which target_lang in tokenizer_config.json "
                "names none: name the model's there"
            )
        if vocab is None:
            raise MmsError(f"{where} has no vocabulary for {code!r}, whose adapter is present")
        if not all(isinstance(index, int) for index in vocab.values()):
            raise MmsError(f"{where}: the ids of {code!r} are not all integers")
        return vocab

    def _labels(self, tensors: Weights, code: str, file: Path) -> Labels:
        """Return the labels of a language's tensors, which are checked too."""
        vocab = self._vocab(code)
        size = tensors.shapes.get("lm_head.weight", (len(vocab),))[0]
        check_shapes(tensors.shapes, adapter_shapes(self.config, size), where=str(file))
        where = f"{self.path / _VOCAB} and {file.name}"
        labels = self.tokenizer.labels(vocab, size, self.blank, where=where)
        if labels.unnamed:
            self.warnings.append(
                f"{where}: {labels.unnamed} of the head's {size} rows have no token: they are "
                "treated as unknown"
            )
        return labels


def find_languages(
    path: Path, config: Wav2Vec2Ctc, blank: int | None, asked: str, base: tuple[Weights, list[Path]]
) -> Languages:
    """Return the languages of a folder.

    Args:
        path: The folder.
        config: Network sizes.
        blank: `pad_token_id` of config.json.
        asked: Languages to export, in the syntax of `--lang`; other files are not opened.
        base: Language tensors among the base weights, and their files.

    Raises:
        MmsError: there is none.
    """
    document = read_json(path / _VOCAB)
    nested = document and all(isinstance(value, dict) for value in document.values())
    vocabs = {normal_code(key): v for key, v in document.items()} if nested else {"": document}
    found = Languages(path, config, read_tokenizer(path), vocabs, blank, asked)
    found.add_files()
    if base[0].shapes:
        found.add_inner(*base)
    if found.adapters:
        return found
    if found.unusable:
        raise MmsError(next(iter(found.unusable.values())))
    if not config.adapter_parameters:
        raise MmsError(
            f"{path} has no lm_head among its weights: a pretrained model without one, such as "
            "facebook/mms-1b, cannot transcribe"
        )
    raise MmsError(
        f"{path} holds no adapter.{{lang}}.safetensors, and no adapter among its weights: there is "
        "no language to export"
    )
