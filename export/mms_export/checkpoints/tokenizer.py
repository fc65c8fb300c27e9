"""Tokenizer of a transformers checkpoint: the token of each head row, and the roles of tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

from mms_engine.errors import MmsError
from mms_engine.text.vocabulary import WORD_BOUNDARY
from mms_export.checkpoints.documents import interpreting, read_json
from mms_export.checkpoints.selection import normal_code

FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
BLANK, BEGIN, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
"""Names of special tokens in a bundle, whatever the checkpoint calls them."""
ALIGNER_BLANK = "<blank>"
"""Blank of the MMS aligner, whose `<pad>` is another token."""
UROMAN_LETTERS = frozenset(ascii_lowercase + "'")
# The defaults of Wav2Vec2CTCTokenizer; tokens that the vocabulary lacks get ids in this order.
_ROLES = {"bos_token": BEGIN, "eos_token": END, "unk_token": UNKNOWN, "pad_token": BLANK}
_UNSUPPORTED = ("Wav2Vec2PhonemeCTCTokenizer",)


@dataclass(frozen=True, slots=True)
class Labels:
    """Tokens of a head in the order of a bundle, blank first. Picklable, for worker processes."""

    tokens: tuple[str, ...]
    rows: tuple[int, ...]
    """Row of the checkpoint's head for each token."""
    word_delimiter: str | None = WORD_BOUNDARY
    """As `Vocabulary.word_delimiter`."""
    delimiter_text: str = " "
    """As `Vocabulary.delimiter_text`."""
    unnamed: int = 0
    """Rows for which the vocabulary has no token; they are never text."""

    @classmethod
    def named(cls, tokens: tuple[str, ...]) -> "Labels":
        """Return labels of tokens that have a bundle's names and order already."""
        return cls(tokens, tuple(range(len(tokens))))

    @property
    def is_latin(self) -> bool:
        """Whether every token is one of romanised text: a letter, the apostrophe, a digit."""
        special = {BLANK, BEGIN, END, UNKNOWN, self.word_delimiter}
        return set(self.tokens) - special <= UROMAN_LETTERS | set(digits)

    @property
    def is_uroman(self) -> bool:
        """Whether the tokens spell romanised text of any language, without word boundaries."""
        return set(self.tokens) - {BLANK, BEGIN, END, UNKNOWN} == UROMAN_LETTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """Settings of a `Wav2Vec2CTCTokenizer`."""

    roles: Mapping[str, str | None]
    """Token of `bos_token`, `eos_token`, `unk_token` and `pad_token`."""
    added: Mapping[int, str]
    """Tokens outside vocab.json, by id."""
    special: frozenset[str]
    """Tokens that are never text, those of roles included."""
    word_delimiter: str | None = WORD_BOUNDARY
    delimiter_text: str = " "
    lower_case: bool = False
    target_lang: str | None = None

    def labels(
        self, vocab: Mapping[str, int], size: int, config_blank: int | None, *, where: str
    ) -> Labels:
        """Return the labels of a head.

        Args:
            vocab: Ids of the tokens of one language, as in vocab.json.
            size: Rows of the head.
            config_blank: `pad_token_id` of config.json.
            where: Vocabulary and head, for messages.

        Raises:
            MmsError: they do not belong together, or there is no blank.
        """
        by_id = self._by_id(vocab)
        beyond = [t for i, t in by_id.items() if i >= size and t in vocab and not self._is_role(t)]
        if beyond or any(i < 0 for i in by_id):
            raise MmsError(
                f"{where}: the vocabulary has ids up to {max(by_id)} ({beyond[:1]}), the head has "
                f"{size} rows: they belong to different models"
            )
        blank = self._blank(by_id, size, config_blank, where=where)
        rows = (blank, *(i for i in range(size) if i != blank))
        delimiter, text = self._delimiter({by_id[i] for i in rows if i in by_id})
        tokens = [BLANK, *(self._written(by_id.get(i), delimiter) for i in rows[1:])]
        if delimiter is not None and WORD_BOUNDARY not in tokens:
            tokens = [WORD_BOUNDARY if token == delimiter else token for token in tokens]
            delimiter = WORD_BOUNDARY
        unnamed = sum(i not in by_id for i in range(size))
        return Labels(tuple(tokens), rows, delimiter, text, unnamed)

    def _by_id(self, vocab: Mapping[str, int]) -> dict[int, str]:
        """Return the token of each id: vocab.json first, then added tokens, then roles."""
        added = dict(self.added)
        known = {*vocab, *added.values()}
        for token in filter(None, self.roles.values()):
            if token not in known:
                added[len(known)] = token
                known.add(token)
        return added | {index: token for token, index in vocab.items()}

    def _is_role(self, token: str) -> bool:
        return token in self.special or token in (BLANK, BEGIN, END, UNKNOWN)

    def _blank(
        self, by_id: Mapping[int, str], size: int, config_blank: int | None, *, where: str
    ) -> int:
        ids = {token: index for index, token in by_id.items() if index < size}
        pad = self.roles["pad_token"]
        for token in (ALIGNER_BLANK, pad):
            if token in ids:
                return ids[token]
        # A letter is a pad_token_id that nobody set: its default is 0.
        blank = -1 if config_blank is None else config_blank
        if blank < size and len(by_id.get(blank, "")) > 1:
            return blank
        raise MmsError(
            f"{where}: the vocabulary has no blank: its pad token {pad!r} is not among the tokens. "
            "Name the token that the model was trained with as pad_token in tokenizer_config.json"
        )

    def _delimiter(self, tokens: set[str]) -> tuple[str | None, str]:
        """Return the token between words, and its text."""
        if self.word_delimiter in tokens:
            # Words that are written without anything between them have no boundary.
            return (self.word_delimiter, self.delimiter_text) if self.delimiter_text else (None, "")
        return (" ", " ") if " " in tokens else (None, " ")

    def _written(self, token: str | None, delimiter: str | None) -> str:
        """Return a token under its name in a bundle."""
        if token is not None and token == delimiter:
            return token
        if not token or token in self.special or token == self.word_delimiter:
            return {"bos_token": BEGIN, "eos_token": END}.get(self._role_of(token), UNKNOWN)
        return token.lower() if self.lower_case else token

    def _role_of(self, token: str | None) -> str:
        return next((role for role, own in self.roles.items() if own and own == token), "")


def default_tokenizer() -> Tokenizer:
    """Return the tokenizer of a checkpoint without tokenizer files."""
    return Tokenizer(roles=_ROLES, added={}, special=frozenset({*_ROLES.values(), ALIGNER_BLANK}))


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer files of a checkpoint; each may be absent.

    Raises:
        MmsError: a file is malformed, or the tokenizer is of another kind.
    """
    config, specials, added = (_optional(folder / name) for name in FILES)
    kind = config.get("tokenizer_class")
    if kind in _UNSUPPORTED:
        raise MmsError(
            f"{folder / FILES[0]}: tokenizer_class is {kind}, whose tokens are phonemes: only "
            "models that spell words (Wav2Vec2CTCTokenizer) can be exported"
        )
    with interpreting(folder / FILES[0]):
        return _tokenizer(config, specials, added)


def _tokenizer(
    config: dict[str, Any], specials: dict[str, Any], added: dict[str, Any]
) -> Tokenizer:
    entries = config.get("added_tokens_decoder")
    if entries is None:  # the files of earlier releases
        config |= specials
        found = {int(index): token for token, index in added.items()}
        flagged: set[str] = set()
    else:
        found = {int(index): _content(entry) for index, entry in entries.items()}
        flagged = {_content(entry) for entry in entries.values() if entry.get("special")}
    roles = {role: _role(config.get(role, name)) for role, name in _ROLES.items()}
    special = {*filter(None, roles.values()), *flagged, *_extra(config), ALIGNER_BLANK}
    delimiter = _role(config.get("word_delimiter_token", WORD_BOUNDARY))
    return Tokenizer(
        roles=roles,
        added=found,
        special=frozenset(special - {delimiter}),
        word_delimiter=delimiter,
        delimiter_text=str(config.get("replace_word_delimiter_char", " ")),
        lower_case=bool(config.get("do_lower_case", False)),
        target_lang=normal_code(str(config.get("target_lang") or "")) or None,
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _content(entry: object) -> str:
    """Return the text of a token, which may be written with its settings."""
    return str(entry["content"] if isinstance(entry, dict) else entry)


def _role(entry: object) -> str | None:
    return None if entry is None else _content(entry)


def _extra(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the special tokens without a role of speech recognition."""
    for key in ("sep_token", "cls_token", "mask_token"):
        if config.get(key) is not None:
            yield _content(config[key])
    for key in ("additional_special_tokens", "extra_special_tokens"):
        tokens = config.get(key) or ()
        yield from map(_content, tokens.values() if isinstance(tokens, dict) else tokens)
