"""Voices of speech synthesis: VITS in the layout of transformers' VitsModel or of fairseq."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mms_engine.bundle.manifest import Vits
from mms_engine.bundle.voices import Voice
from mms_engine.errors import LanguageError, MmsError
from mms_export.checkpoints.checkpoint import MMS_LICENCE, VoiceFile, VoiceSet, sizes_digest
from mms_export.checkpoints.documents import interpreting, read_json, read_model_card
from mms_export.checkpoints.files import open_tensors, renamed
from mms_export.checkpoints.folder import find_weights
from mms_export.checkpoints.hub import voice_snapshot
from mms_export.checkpoints.selection import (
    UNKNOWN_LANGUAGE,
    checked_code,
    matching,
    single_code,
)
from mms_export.checkpoints.vits_fairseq import find_generator, open_generator, voice_document
from mms_export.checkpoints.weights import Weights

_PREFIX = "mms-tts-"
_WEIGHT_NORM = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}
_REQUIRED = {
    "use_stochastic_duration_prediction": True,
    "num_speakers": 1,
    "speaker_embedding_size": 0,
    "hidden_act": "relu",
    "depth_separable_channels": 2,
    "use_bias": True,
}
"""Fields of config.json with the only value that the graphs are for, which is the default."""
_Value = TypeVar("_Value")


def is_voice(folder: Path) -> bool:
    """Whether a folder holds one voice, in either layout."""
    config = folder / "config.json"
    if not config.is_file():
        return False
    document = read_json(config)
    return document.get("model_type") == "vits" or find_generator(folder) is not None


def voice_folders(folder: Path) -> list[Path]:
    """Return the folders of voices in a folder, sorted."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and is_voice(path)]


def open_voice_folder(path: Path, *, name: str, languages: str) -> VoiceSet:
    """Open a folder that is a voice, or that holds one folder for each voice.

    Args:
        path: The folder; or the `G_*.pth` of a voice in it, of which there may be several.
        name: Name of the checkpoint.
        languages: Languages to export, in the syntax of `--lang`; a single code names a single
            voice.

    Raises:
        MmsError: a voice cannot be read, or no two files of it agree.
    """
    folder = path.parent if path.is_file() else path
    if path.is_file() or is_voice(path):
        code = single_code(languages) or _own_code(folder, name)
        return voice_set(name, folder, {code: path}, languages)
    folders = {code_of_name(folder.name): folder for folder in voice_folders(path)}
    return voice_set(name, path, folders, languages)


def _own_code(path: Path, name: str) -> str:
    """Return the code that a voice itself states, or else its name."""
    tokenizer = path / "tokenizer_config.json"
    language = read_json(tokenizer).get("language") if tokenizer.is_file() else None
    return checked_code(language) if isinstance(language, str) and language else code_of_name(name)


def code_of_name(name: str) -> str:
    """Return the code in the name of a repository or folder, such as that of mms-tts-swh."""
    code = name.rsplit("/", 1)[-1]
    code = code[code.index(_PREFIX) + len(_PREFIX) :] if _PREFIX in code else code
    try:
        return checked_code(code)
    except LanguageError:
        return UNKNOWN_LANGUAGE


def voice_set(
    name: str,
    path: Path,
    folders: Mapping[str, Path],
    languages: str,
    *,
    prefix: str = "",
    warnings: Iterable[str] = (),
) -> VoiceSet:
    """Return the voices of some folders that share the most common sample rate.

    Args:
        name: Name of the set.
        path: Folder of the set.
        folders: Folder of each voice by its code.
        languages: Voices to export, in the syntax of `--lang`; the others are not read.
        prefix: Beginning of the hub ids from which to download weights that a folder lacks, which
            the code follows; or one id.
        warnings: Remarks for the user.

    Raises:
        MmsError: none of the voices can be read.
    """
    voices: dict[str, VoiceFile] = {}
    unusable: dict[str, str] = {}
    for code in matching(languages, folders):
        try:
            voices[code] = open_voice(folders[code], code, repository=prefix and prefix + code)
        except MmsError as error:
            unusable[code] = str(error)
    if not voices:
        reason = next(iter(unusable.values()), f"{name} has no voice of {languages!r}")
        raise LanguageError(reason)
    rate = _most(voice.voice.sampling_rate for voice in voices.values())
    for code, voice in list(voices.items()):
        if voice.voice.sampling_rate != rate:
            unusable[code] = (
                f"the voice {code} in {folders[code]} has {voice.voice.sampling_rate} samples per "
                f"second, the others have {rate}: export it alone, to another --out"
            )
            del voices[code]
    files = tuple(voices.values())
    licences = sorted({file.licence for file in files})
    return VoiceSet(
        name=name,
        format=files[0].format,
        path=path,
        config=_most(voice.config for voice in voices.values()),
        voices=dict(sorted(voices.items())),
        unusable=unusable,
        warnings=tuple(warnings),
        sample_rate=rate,
        licence=", ".join(licences),
    )


def _most(values: Iterable[_Value]) -> _Value:
    """Return the most common value; of several, the first."""
    return Counter(values).most_common(1)[0][0]


def size_difference(expected: Vits, found: Vits) -> str:
    """Return the first field in which two configurations differ, with its values, or nothing."""
    for field in Vits.__struct_fields__:
        values = getattr(expected, field), getattr(found, field)
        if values[0] != values[1]:
            return f"{field} ({values[1]}, not {values[0]})"
    return ""


def open_voice(folder: Path, code: str, *, repository: str = "") -> VoiceFile:
    """Open one voice.

    Args:
        folder: Its folder, or the `G_*.pth` to take from it.
        code: Code of its language.
        repository: Hub id from which to download the weights if the folder has none.

    Raises:
        MmsError: a file is missing or contradicts another, or the network is not that of MMS.
    """
    generator = folder if folder.is_file() else find_generator(folder)
    if generator is not None:
        folder = generator.parent
    path = folder / "config.json"
    document = read_json(path)
    if generator is None:
        paths = _weight_paths(folder, repository)
        tokenizer = read_json(folder / "tokenizer_config.json")
        vocabulary = read_json(folder / "vocab.json")
    else:
        paths = (generator,)
        document, tokenizer, vocabulary = voice_document(folder, document)
    config = parse_vits_config(document, where=path)
    rows = int(document.get("vocab_size", len(vocabulary)))
    check_vocabulary(vocabulary, rows, folder)
    described = ("config.json", "tokenizer_config.json", "vocab.json", "vocab.txt")
    with interpreting(folder / "tokenizer_config.json"):
        voice = Voice(
            language=code,
            fingerprint="",
            source=repository or folder.name,
            sampling_rate=int(document.get("sampling_rate", 16_000)),
            vocabulary=vocabulary,
            add_blank=bool(tokenizer.get("add_blank", True)),
            normalize=bool(tokenizer.get("normalize", True)),
            is_uroman=bool(tokenizer.get("is_uroman", False)),
            # transformers' default is true, for other models than MMS, whose files say false.
            phonemize=bool(tokenizer.get("phonemize", True)),
            tokenizer_language=tokenizer.get("language"),
            noise_scale=float(document.get("noise_scale", 0.667)),
            noise_scale_duration=float(document.get("noise_scale_duration", 0.8)),
            speaking_rate=float(document.get("speaking_rate", 1.0)),
        )
    return VoiceFile(
        language=code,
        paths=paths,
        format="transformers" if generator is None else "fairseq",
        described_by=tuple(folder / name for name in described if (folder / name).is_file()),
        config=config,
        voice=voice,
        rows=rows,
        licence=read_model_card(folder).get("license", MMS_LICENCE),
        repository="" if paths else repository,
    )


def _weight_paths(folder: Path, repository: str) -> tuple[Path, ...]:
    """Return the weight files of a folder; none if they are still to be downloaded."""
    try:
        return tuple(find_weights(folder))
    except MmsError:
        if repository:
            return ()
        raise


def parse_vits_config(document: Mapping[str, Any], *, where: Path) -> Vits:
    """Return the network sizes of a config.json.

    Raises:
        MmsError: a field is malformed, or has a value that the graphs are not for.
    """
    for field, expected in _REQUIRED.items():
        value = document.get(field, expected)
        if value != expected:
            raise MmsError(
                f"{where}: {field} is {value!r}; speech synthesis takes the networks of "
                f"facebook/mms-tts-*, whose {field} is {expected!r}"
            )
    fields = {name: document[name] for name in Vits.__struct_fields__ if name in document}
    try:
        config = msgspec.convert({"type": "Vits", **fields}, Vits)
    except msgspec.ValidationError as error:
        raise MmsError(f"{where} is not the configuration of VITS: {error}") from error
    _check_sizes(config, where)
    return config


def _check_sizes(config: Vits, where: Path) -> None:
    """Check that sizes which belong together agree.

    Raises:
        MmsError: naming the sizes.
    """
    stages, blocks = len(config.upsample_rates), len(config.resblock_kernel_sizes)
    kernels = zip(config.upsample_kernel_sizes, config.upsample_rates, strict=False)
    odd = (*config.resblock_kernel_sizes, config.wavenet_kernel_size, config.ffn_kernel_size)
    rules = {
        "upsample_kernel_sizes has not one kernel for each of upsample_rates": (
            len(config.upsample_kernel_sizes) == stages
        ),
        "resblock_dilation_sizes has not one list for each of resblock_kernel_sizes": (
            len(config.resblock_dilation_sizes) == blocks
        ),
        "an upsample kernel is not its rate plus an even number": all(
            kernel >= rate and (kernel - rate) % 2 == 0 for kernel, rate in kernels
        ),
        "a kernel is even": all(kernel % 2 for kernel in odd),
        "hidden_size is not a multiple of num_attention_heads": (
            config.hidden_size % config.num_attention_heads == 0
        ),
        "flow_size is odd": config.flow_size % 2 == 0,
        "upsample_initial_channel cannot be halved at every stage": (
            config.upsample_initial_channel % (1 << stages) == 0
        ),
    }
    for reason, holds in rules.items():
        if not holds:
            raise MmsError(f"{where}: {reason}")


def check_vocabulary(vocabulary: Mapping[str, Any], rows: int, folder: Path) -> None:
    """Check that a vocabulary maps tokens to rows of the embedding.

    Raises:
        MmsError: naming the token.
    """
    for token, index in vocabulary.items():
        if not isinstance(index, int) or not 0 <= index < rows:
            raise MmsError(
                f"{folder}: the token {token!r} has the id {index!r}, the embedding {rows} rows"
            )
    if not vocabulary:
        raise MmsError(f"{folder}: the vocabulary is empty")


def read_voice_tensors(file: VoiceFile) -> Weights:
    """Open a voice's tensors under transformers' names, weight norm as `weight_g` and `weight_v`.

    Raises:
        MmsError: a file is damaged.
    """
    if file.format == "fairseq":
        return open_generator(file.path)
    paths = file.paths
    if file.repository:
        paths = tuple(find_weights(voice_snapshot(file.repository, weights=True)))
    return renamed(open_tensors(list(paths)), _neutral)


def _neutral(name: str) -> str:
    for ending, replacement in _WEIGHT_NORM.items():
        if name.endswith(ending):
            return name.removesuffix(ending) + replacement
    return re.sub(r"^vits\.", "", name)


def with_fingerprint(file: VoiceFile) -> Voice:
    """Return the description of a voice in a bundle."""
    return msgspec.structs.replace(file.voice, fingerprint=sizes_digest(file.config))
