"""Measure the demo voice: what recognisers make of sentences that it was never trained on.

    python -m examples.demo.voices.evaluate [--reader voice]

Both the voice and its teacher read the sentences of `heldout.txt`; two recognisers transcribe
both: pocketsphinx (BSD licence) with its own English model, and the demo checkpoint. Writes
`metrics.json` and the picture of a spectrogram; figures of a reader that is not asked for stay.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import jiwer
import numpy as np
import soxr
import torch
from examples.demo.publish import CHECKPOINT
from examples.demo.voices.phonemes import phoneme_map
from examples.demo.voices.prepare import SPEAKING_RATE, read_by_teacher
from examples.demo.voices.publish import VOICE, teacher_latents
from examples.demo.voices.teacher import SAMPLE_RATE, calibrate_pairs, fetch_teacher, load_teacher
from examples.demo.voices.text import HERE, held_out_sentences
from numpy.typing import NDArray
from transformers import VitsModel, VitsTokenizer

from mms_engine.formats.output import check_output, open_output

logger = logging.getLogger(__name__)

Samples = NDArray[np.float32]
RECOGNISER_RATE = 16000
QUIET = 0.01  # of full scale: below it a window of 20 ms is silence
PICTURED = 1  # held-out sentence of the picture


@torch.inference_mode()
def voice_readings(folder: Path, sentences: list[str]) -> Iterator[Samples]:
    """Yield the sentences as the voice reads them, with the settings of its config."""
    model = VitsModel.from_pretrained(folder).eval()
    tokenizer = VitsTokenizer.from_pretrained(folder)
    for number, text in enumerate(sentences):
        torch.manual_seed(number)
        yield model(**tokenizer(text, return_tensors="pt")).waveform[0].numpy()


@torch.inference_mode()
def teacher_readings(sentences: list[str]) -> Iterator[Samples]:
    """Yield the sentences as the teacher reads them, with its own settings but for the rate."""
    teacher, ids = load_teacher(), phoneme_map(fetch_teacher())
    calibrate_pairs(teacher, teacher_latents(8))
    for number, text in enumerate(sentences):
        torch.manual_seed(number)
        row = torch.tensor([read_by_teacher(text, ids)[1]])
        yield teacher(row, speaking_rate=SPEAKING_RATE).waveform[0].numpy()


def with_pocketsphinx() -> Callable[[Samples], str]:
    """Return the transcription by pocketsphinx and its English model of samples at 16 kHz."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=RECOGNISER_RATE, loglevel="FATAL")

    def transcribe(samples: Samples) -> str:
        pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr if found else ""

    return transcribe


def with_demo_checkpoint() -> Callable[[Samples], str]:
    """Return the greedy transcription by the demo checkpoint of samples at 16 kHz."""
    from transformers import AutoProcessor, Wav2Vec2ForCTC

    processor = AutoProcessor.from_pretrained(CHECKPOINT, target_lang="eng")
    model = Wav2Vec2ForCTC.from_pretrained(
        CHECKPOINT, target_lang="eng", ignore_mismatched_sizes=True
    ).eval()

    @torch.inference_mode()
    def transcribe(samples: Samples) -> str:
        inputs = processor(samples, sampling_rate=RECOGNISER_RATE, return_tensors="pt")
        return str(processor.decode(model(**inputs).logits[0].argmax(-1)))

    return transcribe


RECOGNISERS = {"pocketsphinx": with_pocketsphinx, "demo checkpoint": with_demo_checkpoint}


def longest_silence(samples: Samples) -> float:
    """Return the longest stretch of silent windows of 20 ms, in seconds."""
    window = SAMPLE_RATE // 50
    windows = samples[: len(samples) // window * window].reshape(-1, window)
    silent = np.abs(windows).max(axis=1) < QUIET
    longest = run = 0
    for quiet in silent:
        run = run + 1 if quiet else 0
        longest = max(longest, run)
    return longest / 50


def sound_figures(readings: list[Samples]) -> dict[str, float]:
    """Return length, peak, level, offset and silence over all readings."""
    whole = np.concatenate(readings)
    return {
        "seconds": round(len(whole) / SAMPLE_RATE, 1),
        "peak": round(float(np.abs(whole).max()), 4),
        "rms": round(float(np.sqrt(np.mean(whole**2))), 4),
        "largest_offset": round(max(abs(float(r.mean())) for r in readings), 5),
        "longest_silence_seconds": round(max(map(longest_silence, readings)), 2),
    }


def draw_spectrogram(path: Path, panels: dict[str, Samples], text: str) -> None:
    """Draw a spectrogram of each reading of a sentence, one above the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, sharey=True)
    for axis, (name, samples) in zip(axes, panels.items(), strict=True):
        scale = {"vmin": -125, "vmax": -55, "cmap": "magma"}
        axis.specgram(samples + 1e-6, NFFT=768, noverlap=640, Fs=SAMPLE_RATE, **scale)
        axis.set(ylim=(0, 8000), ylabel="Hz", title=name)
    axes[-1].set_xlabel(f"seconds: \u201c{text}\u201d")
    figure.savefig(path, dpi=90)


def measure(reader: str, readings: list[Samples], sentences: list[str]) -> dict[str, Any]:
    """Return the character error rate by recogniser, and the figures of the sound."""
    resampled = [soxr.resample(reading, SAMPLE_RATE, RECOGNISER_RATE) for reading in readings]
    rates = {}
    for name, make in RECOGNISERS.items():
        transcribe = make()
        heard = [transcribe(samples) for samples in resampled]
        rates[name] = round(float(jiwer.cer(sentences, heard)), 4)
        for text, found in zip(sentences, heard, strict=True):
            logger.info("%s, %s: %s | %s", name, reader, text, found)
    return {"character_error_rate": rates, "sound": sound_figures(readings)}


@click.command()
@click.option("--voice", type=click.Path(path_type=Path), default=VOICE)
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "metrics.json")
@click.option("--picture", type=click.Path(path_type=Path), default=HERE / "spectrogram.png")
@click.option("--reader", "readers", multiple=True, type=click.Choice(["voice", "teacher"]))
def main(voice: Path, out: Path, picture: Path, readers: tuple[str, ...]) -> None:
    """Measure the voice and its teacher."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_output(out, inputs=[voice / "config.json"])
    os.nice(10)
    torch.set_num_threads(1)
    sentences = held_out_sentences()
    read = {"voice": partial(voice_readings, voice), "teacher": teacher_readings}
    metrics = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for reader in readers or read:
        metrics[reader] = measure(reader, list(read[reader](sentences)), sentences)
    text = sentences[PICTURED]
    draw_spectrogram(picture, {name: next(read[name]([text])) for name in read}, text)
    with open_output(out) as stream:
        stream.write(json.dumps(metrics, indent=2) + "\n")
    click.echo(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
