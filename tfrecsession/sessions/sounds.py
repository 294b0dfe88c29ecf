"""Sounds of items: a log-mel spectrogram, computed once from a path, from bytes, or from samples; or given frames.

With f the frequencies of a real Fourier transform of a window w (Hann) of a signal x between -1 and 1:

    a[n, f] = |FFT(w x[n : n + window])| / (sum(w) / 2)      1 for a sine of full scale
    frames[n, b] = log(1 + 10,000 sum_f mel[b, f] a[n, f])

mel[b] are triangles over f, at equal distances on Slaney's mel scale (linear below 1 kHz, logarithmic above), from 0 to
11,025 Hz. Window, hop and bands are those of van den Oord, Dieleman and Schrauwen (NIPS 2013): 1,024, 512 and 128 at
22,050 Hz. Files of other rates are not resampled: window and hop have the same length in seconds.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import wave
from pathlib import Path

import numpy as np

from tfrecsession.errors import InputError

SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
RATE = 22_050  # samples a second for which WINDOW and HOP are meant
WINDOW, HOP, BANDS = 1024, 512, 128
SECONDS = 3.0  # from the middle of a sound
FRAMES = int(SECONDS * RATE - WINDOW) // HOP + 1  # of a stored sound
COMPRESSION = 10_000.0
LARGEST = float(np.finfo(np.float16).max)  # of a given frame
READER = "soundfile"
INSTALL = f"needs {READER}, pip install 'tfrecsession[audio]', or convert the files to WAV"


def read_sound(value, folder: Path) -> np.ndarray:
    """Returns float32 [FRAMES, bands]: the middle of a sound, repeated where it is shorter.

    Args:
        value: a path, absolute or relative to `folder`, or the bytes of a file: WAV with whole numbers as samples;
            other formats need the package `soundfile`. Or a dict with `path` or `bytes`, or with `array` and
            `sampling_rate`. Or frames, float [frames, bands].
        folder: see above.

    Raises:
        ValueError: it cannot be read; the message says why.
        InputError: its format needs `soundfile`, which is not installed.
    """
    if isinstance(value, dict) and "array" in value:  # the forms of Hugging Face's data sets
        samples, rate = np.atleast_2d(np.asarray(value["array"], np.float64)), float(value.get("sampling_rate") or RATE)
        samples = samples.mean(axis=int(samples.shape[1] < samples.shape[0]))  # channels come first or last
        return in_length(log_mel(_middle(samples, rate), rate))
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, np.ndarray):
        return in_length(value)
    if not isinstance(value, str | bytes):
        raise ValueError(f"is neither a path nor the bytes of a sound, but {type(value).__name__}")
    is_wave = not isinstance(value, str) or value.lower().endswith((".wav", ".wave"))
    try:
        with io.BytesIO(value) if isinstance(value, bytes) else (folder / Path(value).expanduser()).open("rb") as file:
            return in_length(log_mel(*_decoded(file, is_wave)))
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def log_mel(samples: np.ndarray, rate: float) -> np.ndarray:
    """Returns the frames of a signal: float [samples] between -1 and 1, at `rate` samples a second -> [frames, BANDS].

    Raises:
        ValueError: there are no samples, or some are NaN or infinite.
    """
    if not len(samples) or not 0 < rate < np.inf:
        raise ValueError("has no samples" if rate > 0 else f"has {rate} samples a second")
    if not np.isfinite(samples).all():
        raise ValueError("holds NaN or infinity")
    window = max(round(WINDOW * rate / RATE), 2)
    samples = np.pad(samples, (0, max(0, window - len(samples))))
    count = int((len(samples) - window) * RATE / rate / HOP + 1e-9) + 1
    starts = np.rint(np.arange(count) * (HOP * rate / RATE)).astype(np.int64)
    starts = np.minimum(starts, len(samples) - window)  # (frames,)
    shape = np.hanning(window + 1)[:-1]  # (window,)
    cut = samples[starts[:, None] + np.arange(window)] * shape  # (frames, window)
    spectrum = np.abs(np.fft.rfft(cut, axis=1)) / (shape.sum() / 2)  # (frames, window // 2 + 1)
    return np.log1p(COMPRESSION * spectrum @ mel_filters(window, rate).T).astype(np.float32)


@functools.cache
def mel_filters(window: int, rate: float) -> np.ndarray:
    """Returns float64 [BANDS, window // 2 + 1]: triangles of height 1 over the frequencies of a transform."""
    frequencies = np.arange(window // 2 + 1) * (rate / window)  # (frequencies,)
    edges = _hertz(np.linspace(0, _mel(RATE / 2), BANDS + 2))  # (bands + 2,)
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(np.minimum((frequencies - low) / (center - low), (high - frequencies) / (high - center)), 0)


def _mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def in_length(frames: np.ndarray) -> np.ndarray:
    """Returns the middle FRAMES of [frames, bands]; fewer are repeated."""
    start = max(0, len(frames) - FRAMES) // 2
    return np.resize(frames[start : start + FRAMES], (FRAMES, frames.shape[1]))


def bands_of(values: list) -> int:
    """Returns the bands of a column's sounds: those of given frames, else BANDS."""
    return next((value.shape[1] for value in values if isinstance(value, np.ndarray)), BANDS)


def _middle(samples: np.ndarray, rate: float) -> np.ndarray:
    kept = round(SECONDS * rate)
    start = max(0, len(samples) - kept) // 2
    return samples[start : start + kept]


def _decoded(file, is_wave: bool) -> tuple[np.ndarray, float]:
    """Returns the middle of a sound, float [samples], the mean of its channels; and its samples a second.

    `is_wave` tells a file that is a WAV file by its name, or has none.
    """
    first = file.read(12)
    file.seek(0)
    if first[:4] == b"RIFF" and first[8:] == b"WAVE":
        try:
            with wave.open(file) as sound:
                rate, count = sound.getframerate(), sound.getnframes()
                kept = min(count, round(SECONDS * rate))
                sound.setpos((count - kept) // 2)
                return _numbers(sound.readframes(kept), sound.getsampwidth(), sound.getnchannels()), rate
        except (wave.Error, EOFError, ValueError) as error:
            if "unknown format" not in str(error):  # else of numbers with a point, which soundfile reads
                raise ValueError(f"cannot be decoded ({str(error) or 'it ends early'})") from None
            file.seek(0)
    elif is_wave and not looks_like_a_sound(first):
        raise ValueError("is not a sound")
    if importlib.util.find_spec(READER) is None:
        raise InputError(f"this format of sounds {INSTALL}")
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            kept = min(sound.frames, round(SECONDS * sound.samplerate))
            sound.seek((sound.frames - kept) // 2)
            return sound.read(kept, always_2d=True).mean(axis=1), sound.samplerate
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"cannot be decoded ({str(error).splitlines()[0][:80]})") from None


def _numbers(data: bytes, width: int, channels: int) -> np.ndarray:
    """Returns PCM samples between -1 and 1, the mean over channels; 8 bits have no sign."""
    data = np.frombuffer(data, np.uint8)
    data = data[: len(data) // (width * channels) * width * channels].reshape(-1, width)
    if width == 1:
        samples = (data[:, 0].astype(np.float64) - 128) / 128
    else:
        wide = np.zeros((len(data), 4), np.uint8)
        wide[:, 4 - width :] = data  # the high bytes of 32 bits
        samples = wide.view("<i4")[:, 0] / 2.0**31
    return samples.reshape(-1, channels).mean(axis=1)


def looks_like_a_sound(value) -> bool:
    """Returns whether a text is the path of a sound, by its suffix, or bytes or a dict are one, by how they begin."""
    if isinstance(value, str):
        return value.lower().endswith(SUFFIXES) and not value.lower().startswith("http")
    if isinstance(value, dict):
        return "array" in value or looks_like_a_sound(value.get("bytes") or value.get("path"))
    if not isinstance(value, bytes):
        return False
    is_mp3 = value[:3] == b"ID3" or (value[:1] == b"\xff" and value[1:2] in (b"\xfb", b"\xf3", b"\xf2"))
    return is_mp3 or value[:4] in (b"fLaC", b"OggS", b".snd") or value[8:12] in (b"WAVE", b"AIFF", b"AIFC")
