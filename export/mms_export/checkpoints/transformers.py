"""Checkpoints of transformers: facebook/mms-1b-all, fine-tuned adapters, plain CTC models."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mms_engine.bundle.manifest import UROMAN_LANGUAGE, Wav2Vec2Ctc
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import MMS_LICENCE, UNKNOWN_LICENCE, AdapterFile, Checkpoint
from mms_export.checkpoints.config import parse_config
from mms_export.checkpoints.documents import read_json, read_model_card
from mms_export.checkpoints.files import base_model, language_tensors, open_tensors, renamed
from mms_export.checkpoints.folder import find_weights
from mms_export.checkpoints.names import adapter_shapes, base_shapes, check_shapes, neutral
from mms_export.checkpoints.selection import (
    UNKNOWN_LANGUAGE,
    checked_code,
    normal_code,
    single_code,
)
from mms_export.checkpoints.tokenizer import FILES, Labels, Tokenizer, read_tokenizer
from mms_export.checkpoints.weights import Weights

_ADAPTER = re.compile(r"adapter\.(?P<language>.+)\.(?:safetensors|bin)")
# Tensors that are used in training only.
_IGNORED = ("masked_spec_embed", "quantizer.", "project_q.", "project_hid.")
_CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)?")


def open_transformers(path: Path, *, name: str, languages: str) -> Checkpoint:
    """Open a folder with config.json, weights, vocab.json and any `adapter.{lang}.*` files.

    Args:
        path: The folder.
        name: Name of the checkpoint.
        languages: Languages to export, in the syntax of `--lang`. A single code names the language
            of a model that does not name it itself.

    Raises:
        MmsError: a file is missing or contradicts another; the message names it.
    """
    files = find_weights(path)
    document = read_json(path / "config.json")
    preprocessor = _preprocessor(path)
    document["normalize"] = bool(preprocessor.get("do_normalize", True))
    config = parse_config(document, where=str(path / "config.json"))
    tensors = renamed(open_tensors(files), neutral)
    weights, warnings = _base_tensors(config, tensors, files)
    found = _Languages(path, config, document.get("pad_token_id"), single_code(languages))
    found.find(language_tensors(tensors), files)
    if any(file.labels.is_uroman for file in found.adapters.values()):
        # It was trained, and is used everywhere, on waveforms as they are.
        config = msgspec.structs.replace(config, text="uroman", normalize=False)
    card = read_model_card(path)
    is_mms = config.adapter_parameters or config.text == "uroman"
    return Checkpoint(
        name=name,
        format="transformers",
        path=path,
        config=config,
        weights=weights,
        weight_files=tuple(files),
        adapters=dict(sorted(found.adapters.items())),
        unusable=found.unusable,
        warnings=(*warnings, *found.warnings),
        sample_rate=int(preprocessor.get("sampling_rate", 16000)),
        licence=card.get("license", MMS_LICENCE if is_mms else UNKNOWN_LICENCE),
        notice=card.get("notice", ""),
    )


def _preprocessor(path: Path) -> dict[str, Any]:
    """Return the settings of the feature extractor, of which recent releases nest a copy."""
    file, nested = path / "preprocessor_config.json", path / "processor_config.json"
    if nested.is_file():
        settings = read_json(nested).get("feature_extractor")
        if isinstance(settings, dict):
            return settings
    return read_json(file)


def _base_tensors(
    config: Wav2Vec2Ctc, tensors: Weights, files: list[Path]
) -> tuple[Weights, list[str]]:
    """Return the tensors of the base model, and a warning of those that it does not use."""
    base, expected = base_model(tensors, _IGNORED), base_shapes(config)
    where = str(files[0] if len(files) == 1 else files[0].parent)
    unused = sorted(set(base.shapes) - set(expected))
    shapes = {name: shape for name, shape in base.shapes.items() if name in expected}
    check_shapes(shapes, expected, where=where)
    warnings = []
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        warnings = [f"{where}: not part of the network, ignored: {', '.join(unused[:3])}{more}"]
    return Weights(shapes, base.read), warnings


@dataclass(slots=True)
class _Languages:
    """Languages of a folder: adapter files, and the adapter or head among the base weights."""

    path: Path
    config: Wav2Vec2Ctc
    blank: int | None
    """`pad_token_id` of config.json."""
    named: str | None
    """Code in `--lang`."""
    adapters: dict[str, AdapterFile] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def find(self, inner: Weights, files: list[Path]) -> None:
        """Find every language.

        Args:
            inner: Language tensors among the base weights.
            files: Files of the base weights.

        Raises:
            MmsError: there is none.
        """
        vocabs = read_json(self.path / "vocab.json")
        tokenizer = read_tokenizer(self.path)
        names = sorted(self.path.glob("adapter.*"), reverse=True)  # safetensors before .bin
        own = [(m["language"], f) for f in names if (m := _ADAPTER.fullmatch(f.name))]
        if self.config.adapter_parameters:
            for code, file in own:
                self._add_file(code, file, vocabs, tokenizer)
        elif own:
            self.warnings.append(
                f"{own[0][1]} is ignored: the model has no adapters (adapter_attn_dim)"
            )
        # Next to adapter files, base weights may hold a head without an adapter, of no use.
        if inner.shapes and (not self.adapters or self._is_complete(inner)):
            self._add_inner(inner, tuple(files), vocabs, tokenizer)
        if not self.adapters:
            raise self._none()

    def _is_complete(self, inner: Weights) -> bool:
        return set(inner.shapes) >= set(adapter_shapes(self.config, 1))

    def _none(self) -> MmsError:
        if self.unusable:
            return MmsError(next(iter(self.unusable.values())))
        if not self.config.adapter_parameters:
            return MmsError(
                f"{self.path} has no lm_head among its weights: a pretrained model without one, "
                "such as facebook/mms-1b, cannot transcribe"
            )
        return MmsError(
            f"{self.path} holds no adapter.{{lang}}.safetensors, and no adapter among its weights: "
            "there is no language to export"
        )

    def _add_file(
        self, name: str, file: Path, vocabs: dict[str, Any], tokenizer: Tokenizer
    ) -> None:
        """Add the language of an adapter file, or the reason why it cannot be exported."""
        code = normal_code(name)
        if code in self.adapters:
            return
        try:
            code = checked_code(code)
            tensors = renamed(open_tensors([file]), neutral)
            vocab = self._vocab(vocabs, code)
            labels = self._labels(tensors, vocab, tokenizer, file)
        except MmsError as error:
            self.unusable.setdefault(code, str(error))
            return
        self.unusable.pop(code, None)
        self._add(code, (file,), labels)

    def _add_inner(
        self,
        inner: Weights,
        files: tuple[Path, ...],
        vocabs: dict[str, Any],
        tokenizer: Tokenizer,
    ) -> None:
        """Add the language of the adapter or head among the base weights."""
        nested, others = _is_nested(vocabs), bool(self.adapters)
        target = normal_code(tokenizer.target_lang or "")
        if nested:
            known = [normal_code(key) for key in vocabs]
            target = next((c for c in (target, self.named) if c in known), "")
            target = target or (known[0] if len(known) == 1 else "")
        if not self.config.adapter_parameters and any(map(_is_adapter, inner.shapes)):
            raise MmsError(
                f"{self.path / 'config.json'}: adapter_attn_dim is missing, but the weights hold "
                "language adapters: it has to be the number of rows of their linear_1.weight"
            )
        # A flat vocabulary next to adapter files is theirs.
        if target in self.adapters or (others and (not nested or not target)):
            return
        try:
            labels = self._labels(inner, self._vocab(vocabs, target), tokenizer, files[0])
        except MmsError as error:
            if not others:
                raise
            self.unusable[target] = str(error)
            return
        if self.blank not in (None, labels.rows[0]):
            self.warnings.append(
                f"{self.path}: pad_token_id is {self.blank} in config.json, but the tokenizer's "
                f"blank is row {labels.rows[0]}, which is used, as in transformers"
            )
        if labels.is_uroman:
            target = UROMAN_LANGUAGE
        self._add(
            checked_code(target if nested or labels.is_uroman else self._code(target)),
            files,
            labels,
        )

    def _code(self, target: str) -> str:
        """Return the code of a model whose vocabulary does not name its language."""
        if self.named:
            return self.named
        card = read_model_card(self.path).get("language", "")
        code = target or (card if _CODE.fullmatch(card) else "")
        if not code:
            self.warnings.append(
                f"{self.path} does not name its language, which is exported as "
                f"{UNKNOWN_LANGUAGE}: name it with --lang CODE"
            )
        return code or UNKNOWN_LANGUAGE

    def _add(self, code: str, files: tuple[Path, ...], labels: Labels) -> None:
        described_by = tuple(self.path / name for name in ("vocab.json", *FILES))
        self.adapters[code] = AdapterFile(code, files, "transformers", labels, described_by)

    def _vocab(self, vocabs: dict[str, Any], code: str) -> dict[str, int]:
        """Return the ids of a language's tokens."""
        where = self.path / "vocab.json"
        vocab = vocabs
        if _is_nested(vocabs):
            by_code = {normal_code(key): value for key, value in vocabs.items()}
            if not code:
                raise MmsError(
                    f"{where} has several languages, of which target_lang in "
                    "tokenizer_config.json names none: name the model's there"
                )
            if code not in by_code:
                raise MmsError(f"{where} has no vocabulary for {code!r}, whose adapter is present")
            vocab = by_code[code]
        if not all(isinstance(index, int) for index in vocab.values()):
            raise MmsError(f"{where}: the ids of {code!r} are not all integers")
        return vocab

    def _labels(
        self, tensors: Weights, vocab: Mapping[str, int], tokenizer: Tokenizer, file: Path
    ) -> Labels:
        """Return the labels of a language's tensors, which are checked too."""
        size = tensors.shapes.get("lm_head.weight", (len(vocab),))[0]
        check_shapes(tensors.shapes, adapter_shapes(self.config, size), where=str(file))
        where = f"{self.path / 'vocab.json'} and {file.name}"
        labels = tokenizer.labels(vocab, size, self.blank, where=where)
        if labels.unnamed:
            self.warnings.append(
                f"{where}: {labels.unnamed} of the head's {size} rows have no token: they are "
                "treated as unknown"
            )
        return labels


def _is_adapter(name: str) -> bool:
    return ".adapter_layer." in name


def _is_nested(vocabs: Mapping[str, Any]) -> bool:
    return bool(vocabs) and all(isinstance(value, dict) for value in vocabs.values())


def read_transformers_adapter(file: AdapterFile, config: Wav2Vec2Ctc) -> Weights:
    """Open a language's tensors, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: the tensors are not those of an adapter of this model.
    """
    tensors = language_tensors(renamed(open_tensors(list(file.paths)), neutral))
    check_shapes(tensors.shapes, adapter_shapes(config, len(file.vocab)), where=str(file.path))
    return tensors
