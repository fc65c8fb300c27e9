"""Pickled checkpoints of one head, such as the MMS aligner's."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mms_engine.bundle.manifest import UROMAN_LANGUAGE, Wav2Vec2Ctc
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import (
    MMS_LICENCE,
    UNKNOWN_LICENCE,
    AdapterFile,
    Checkpoint,
    Format,
)
from mms_export.checkpoints.names import adapter_shapes, check_shapes
from mms_export.checkpoints.selection import UNKNOWN_LANGUAGE, checked_code, single_code
from mms_export.checkpoints.tokenizer import ALIGNER_BLANK, Labels, default_tokenizer
from mms_export.checkpoints.weights import Weights

DICTIONARY = "dictionary.txt"
"""Tokens of a head, one a line, beside a `.pt` that has none inside."""
_LETTERS = tuple("aienoutsrmkldghybpwcvjzf'qx")
ALIGNER_TOKENS = (ALIGNER_BLANK, "<pad>", "</s>", "<unk>", *_LETTERS)
"""Tokens of the MMS aligner's head."""
_ALIGNERS = {
    len(tokens): tokens
    # The second without special tokens, as torchaudio loads it.
    for tokens in (ALIGNER_TOKENS, (ALIGNER_BLANK, *_LETTERS))
}


def single_language(
    path: Path,
    source: Format,
    config: Wav2Vec2Ctc,
    weights: Weights,
    head: Weights,
    *,
    symbols: Sequence[str] | None,
    languages: str,
) -> Checkpoint:
    """Return the checkpoint of a `.pt` file whose only language is the head's.

    Args:
        path: The file.
        source: Project whose names the file has.
        config: Network sizes.
        weights: Base model.
        head: Tensors of the head.
        symbols: Tokens by row; `None` to take them from `dictionary.txt` beside the file, or to
            recognise the MMS aligner by the size of its head.
        languages: Languages to export, in the syntax of `--lang`; a single code names this one.

    Raises:
        MmsError: there is no head, or its tokens are unknown.
    """
    if "lm_head.weight" not in head.shapes:
        raise MmsError(f"{path} has no head for CTC: a pretrained model cannot transcribe")
    size = head.shapes["lm_head.weight"][0]
    check_shapes(head.shapes, adapter_shapes(config, size), where=str(path))
    labels = _labels(path, symbols, size)
    warnings: tuple[str, ...] = ()
    if labels.is_uroman:
        config = msgspec.structs.replace(config, text="uroman", normalize=False)
        code = UROMAN_LANGUAGE
    elif single_code(languages) == UROMAN_LANGUAGE and labels.is_latin:
        config = msgspec.structs.replace(config, text="uroman")
        code = UROMAN_LANGUAGE
    else:
        code = checked_code(single_code(languages) or UNKNOWN_LANGUAGE)
        if code == UNKNOWN_LANGUAGE:
            warnings = (f"{path} does not name its language: name it with --lang CODE",)
    return Checkpoint(
        name=path.stem,
        format=source,
        path=path,
        config=config,
        weights=weights,
        weight_files=(path,),
        adapters={code: AdapterFile(code, (path,), source, labels)},
        warnings=warnings,
        sample_rate=16000,
        licence=MMS_LICENCE if labels.is_uroman else UNKNOWN_LICENCE,
    )


def _labels(path: Path, symbols: Sequence[str] | None, size: int) -> Labels:
    file = path.parent / DICTIONARY
    if symbols is None and file.is_file():
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        symbols = [line.split()[0] for line in lines if line.strip()]
    if symbols is None:
        symbols = _ALIGNERS.get(size)
    if symbols is None:
        raise MmsError(
            f"{path} has a head of {size} rows and no dictionary: write its tokens to {file}, one "
            "a line in the order of the rows"
        )
    if len(symbols) != size:
        raise MmsError(
            f"{path} has a head of {size} rows, its dictionary has {len(symbols)} tokens"
        )
    if list(symbols[:2]) == ["<s>", "<pad>"]:  # fairseq, whose blank is <s>
        return Labels.named(("<pad>", "<s>", *symbols[2:]))
    vocab = {token: row for row, token in enumerate(symbols)}
    return default_tokenizer().labels(vocab, size, 0, where=str(path))
