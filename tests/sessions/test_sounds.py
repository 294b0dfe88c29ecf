"""Sounds of items: the log-mel spectrogram against a slow reference, files, given frames, and bad ones."""

import importlib.util
import io
import json
import wave

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tfrecsession import InputError
from tfrecsession.cli import main
from tfrecsession.sessions import sounds
from tfrecsession.sessions.content_kinds import interpreted
from tfrecsession.sessions.describe import describe
from tfrecsession.sessions.item_columns import ItemContents
from tfrecsession.sessions.item_table import read_item_table
from tfrecsession.sessions.prepare import prepare
from tfrecsession.sessions.sounds import BANDS, FRAMES, HOP, RATE, WINDOW, in_length, log_mel, read_sound
from tfrecsession.sessions.store import read_prepared


def tone(hertz, seconds=1.0, rate=RATE, level=0.5):
    return level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def wav(samples, rate=RATE, width=2, channels=1):
    """Returns the bytes of a WAV file; channels repeat the signal."""
    whole = np.rint(np.repeat(samples, channels) * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    data = (
        (whole + 128).astype(np.uint8) if width == 1 else whole.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(np.ascontiguousarray(data).tobytes())
    return file.getvalue()


def same(found, expected, tolerance=1e-3):
    """Compares amplitudes: logarithms show the noise of 16 bits."""
    np.testing.assert_allclose(np.expm1(found) / 1e4, np.expm1(expected) / 1e4, atol=tolerance)


def slow_log_mel(samples, rate):
    """The equations of `sounds`, one frame, one band and one frequency at a time."""
    window, hop = round(WINDOW * rate / RATE), HOP * rate / RATE

    def mel(hertz):
        return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)

    def hertz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    edges = [hertz(mel(RATE / 2) * n / (BANDS + 1)) for n in range(BANDS + 2)]
    hann = [0.5 - 0.5 * np.cos(2 * np.pi * n / window) for n in range(window)]
    frames = []
    while (start := int(np.rint(len(frames) * hop))) + window <= len(samples):
        cut = samples[start : start + window] * hann
        row = np.zeros(BANDS)
        for k in range(window // 2 + 1):
            amplitude = abs(np.sum(cut * np.exp(-2j * np.pi * k * np.arange(window) / window))) / (sum(hann) / 2)
            f = k * rate / window
            for band, (low, center, high) in enumerate(zip(edges, edges[1:], edges[2:])):  # noqa: B905
                if low < f < high:
                    row[band] += amplitude * min((f - low) / (center - low), (high - f) / (high - center))
        frames.append(np.log(1 + 10_000 * row))
    return np.array(frames)


@pytest.mark.parametrize("rate", [RATE, 16_000])
def test_log_mel_is_its_equations(rate):
    samples = np.random.default_rng(0).normal(size=int(0.1 * rate)) * np.linspace(0, 1, int(0.1 * rate))
    expected = slow_log_mel(samples, rate)
    assert expected.shape == (3, BANDS)
    np.testing.assert_allclose(log_mel(samples, rate), expected, rtol=1e-5, atol=1e-5)


def test_the_rate_of_a_file_changes_little():
    by_rate = [log_mel(tone(440, rate=rate), rate) for rate in (RATE, 44_100, 16_000)]
    for other in by_rate[1:]:
        assert other.shape == by_rate[0].shape
        assert other.mean(axis=0).argmax() == by_rate[0].mean(axis=0).argmax()
    np.testing.assert_allclose(by_rate[1], by_rate[0], atol=0.6)
    low, high = (log_mel(tone(hertz), RATE).mean(axis=0).argmax() for hertz in (200, 5000))
    assert low < by_rate[0].mean(axis=0).argmax() < high
    assert not log_mel(np.zeros(RATE), RATE).any()  # silence is 0
    full = log_mel(tone(440, level=1.0), RATE).max()
    assert np.log(5_000) < full < np.log(30_000)


@pytest.mark.parametrize(("width", "channels"), [(1, 1), (2, 1), (2, 2), (3, 1), (4, 2)])
def test_wav_files_of_every_width(width, channels, tmp_path):
    expected = in_length(log_mel(tone(440), RATE))
    found = read_sound(wav(tone(440), RATE, width, channels), tmp_path)
    assert found.shape == expected.shape == (FRAMES, BANDS)
    assert found.mean(axis=0).argmax() == expected.mean(axis=0).argmax()
    same(found, expected, 0.02 if width == 1 else 1e-3)


def test_the_middle_of_a_sound_is_kept(tmp_path):
    quiet = np.zeros(2 * RATE)
    samples = np.r_[quiet, tone(440, 3.0), quiet]
    (tmp_path / "a.wav").write_bytes(wav(samples))
    found = read_sound("a.wav", tmp_path)
    np.testing.assert_allclose(found, log_mel(np.rint(tone(440, 3.0) * 32767) / 32768, RATE), atol=1e-4)
    for given in ({"path": "a.wav", "bytes": None}, {"array": samples.tolist(), "sampling_rate": RATE}):
        same(read_sound(given, tmp_path), found)
    stereo = {"array": np.stack([samples, samples]), "sampling_rate": RATE}
    same(read_sound(stereo, tmp_path), found)
    short = read_sound(wav(tone(440, 0.1)), tmp_path)  # three frames, again and again
    np.testing.assert_array_equal(short[:3], short[3:6])
    assert read_sound(wav(tone(440, 0.01)), tmp_path).any()  # shorter than a window
    frames = np.arange(12, dtype=np.float32).reshape(6, 2)
    assert in_length(frames)[:8].tolist() == [*frames.tolist(), *frames[:2].tolist()]
    long = np.arange(FRAMES + 4)[:, None]
    assert in_length(long)[:, 0].tolist() == list(range(2, FRAMES + 2))


def test_sounds_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "cut.wav").write_bytes(wav(tone(440))[:30])
    (tmp_path / "empty.wav").write_bytes(b"")
    for value, message in (
        ("gone.wav", "there is no such file"),
        (".", "cannot be read"),
        ("text.wav", "is not a sound"),
        ("cut.wav", "cannot be decoded"),
        ("empty.wav", "is not a sound"),
        (b"picture", "is not a sound"),
        (wav(np.zeros(0)), "has no samples"),
        ({"array": [0.0, float("nan")] * 2000, "sampling_rate": 8000}, "holds NaN or infinity"),
        ({"array": [0.0, 1.0], "sampling_rate": -1}, "has -1.0 samples a second"),
        (17, "is neither a path nor the bytes of a sound, but int"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            read_sound(value, tmp_path)
        assert not isinstance(caught.value, InputError)
    monkeypatch.setattr(sounds, "READER", "no_such_package")
    (tmp_path / "a.mp3").write_bytes(b"ID3 and more")
    floats = bytearray(wav(tone(440)))
    floats[20] = 3  # numbers with a point
    for value in ("a.mp3", bytes(floats), b"fLaC and more"):
        with pytest.raises(InputError, match=r"needs soundfile, pip install 'tfrecsession\[audio\]', or convert"):
            read_sound(value, tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("soundfile") is None, reason="needs pip install 'tfrecsession[audio]'")
def test_other_formats_are_read_with_soundfile(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.flac", tone(440), RATE)
    same(read_sound("a.flac", tmp_path), read_sound(wav(tone(440)), tmp_path))
    (tmp_path / "b.flac").write_bytes(b"fLaC and more")
    with pytest.raises(ValueError, match="cannot be decoded"):
        read_sound("b.flac", tmp_path)


def read(table, content=None):
    return ItemContents.of(read_item_table(table, kinds=content), content or {})


def test_columns_of_sounds_are_found(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(tone(440)))
    (tmp_path / "items.csv").write_text("item,song\n1,a.wav\n2,b.wav\n")
    assert read(tmp_path / "items.csv").kinds == {"song": "audio"}
    (tmp_path / "items.csv").write_text("item,song\n1,gone.wav\n2,a.wav\n")  # one of the files exists
    assert read(tmp_path / "items.csv").kinds == {"song": "audio"}
    assert read(pa.table({"item": ["1"], "song": [wav(tone(440))]})).kinds == {"song": "audio"}
    assert read({"item": ["1"], "song": [{"array": [0.0], "sampling_rate": 8000}]}).kinds == {"song": "audio"}
    frames = [[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], None]
    for table in (
        {"item": ["1", "2"], "song": frames},
        {"item": ["1", "2"], "song": [np.array(frames[0]), None]},
        pa.table({"item": ["1", "2"], "song": frames}),
        pd.DataFrame({"item": ["1", "2"], "song": [np.array(frames[0]), None]}),
    ):
        found = read(table)
        assert found.kinds == {"song": "audio"}
        values, present = found.tensor("song", [0, 1, -1])
        assert values.shape == (3, FRAMES, 2) and values.dtype == np.float16
        assert values[0, :4].tolist() == [*frames[0], frames[0][0]]
        assert present.tolist() == [True, False, False]


BAD = {
    "vector": (
        [[1.0, 2.0]],
        "item 'a': song=.* is no audio .must be a file, or frames, a list of lists of numbers of one",
    ),
    "ragged": ([[[1.0], [1.0, 2.0]]], "item 'a': song=.* is no audio"),
    "NaN": ([[[1.0, float("nan")]]], "item 'a': song=.*its frames must be numbers up to 65,504, without NaN"),
    "large": ([[[1.0, 1e9]]], "take their logarithms"),
    "empty": ([[[]]], "item 'a': song=.* is no audio"),
    "number": ([17], "item 'a': song=17 is no audio"),
    "bands": (
        [[[1.0, 2.0]], [[1.0]]],
        "song holds sounds of several forms: item 'a' has frames of 2 bands, item 'b' has frames of 1 bands",
    ),
    "mixture": ([[[1.0, 2.0]], "b.wav"], "item 'a' has frames of 2 bands, item 'b' has a file; give all as files, or"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sounds(name):
    values, message = BAD[name]
    with pytest.raises(InputError, match=message):
        read({"item": ["a", "b"][: len(values)], "song": values}, {"song": "audio"})


def test_frames_come_in_text_files_too():
    kind, cells = interpreted("t", "song", ["[[1, 2], [3, 4]]", None], ["a", "b"], None, True, None)
    assert kind == "audio" and cells[1] is None
    assert cells[0].tolist() == [[1, 2], [3, 4]]


@pytest.fixture
def folder(tmp_path):
    """A log of three items, sounds of two, a broken one, and one that a table of tomorrow has."""
    lines = "".join(f"s{n},{item},{1_700_000_000 + 1000 * n + m}\n" for n in range(6) for m, item in enumerate("abc"))
    (tmp_path / "log.csv").write_text("session,item,time\n" + lines)
    for name, hertz in (("a", 220), ("b", 880), ("new", 880)):
        (tmp_path / f"{name}.wav").write_bytes(wav(tone(hertz)))
    (tmp_path / "c.wav").write_text("no sound")
    (tmp_path / "items.csv").write_text("item,song\na,a.wav\nb,b.wav\nc,c.wav\n")
    return tmp_path


def options(folder):
    return [
        str(folder / "log.csv"),
        "--out",
        str(folder / "data"),
        "--min-item-support",
        "1",
        "--test-span",
        "0d",
        "--validation-span",
        "0d",
    ]


def test_sounds_lie_beside_the_table(folder, capsys):
    assert main(["prepare", *options(folder), "--items", str(folder / "items.csv"), "--content", "song:audio"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 sounds of song cannot be read and count as missing: c is not a sound" in printed
    song = read_prepared(folder / "data").items.tensors["song"]
    assert isinstance(song.values, np.memmap) and song.values.dtype == np.float16
    assert song.values.shape == (3, FRAMES, BANDS)
    assert song.present.tolist() == [True, True, False]
    np.testing.assert_allclose(song.values[1], read_sound("b.wav", folder), rtol=1e-3)
    found = describe(folder / "data")["item_columns"]["song"]
    assert found == {
        "kind": "audio",
        "coverage": 0.6667,
        "shape": [FRAMES, BANDS],
        "unreadable": 1,
        "examples": ["a.wav", "b.wav", "c.wav"],
    }
    assert main(["describe", str(folder / "data")]) == 0
    assert "audio" in capsys.readouterr().out
    assert json.loads((folder / "data" / "dataset.json").read_text())["tensors"]["song"]["kind"] == "audio"


def test_tables_of_sounds_that_are_refused(folder, monkeypatch, capsys):
    (folder / "b.wav").write_text("no sound")
    command = ["prepare", *options(folder), "--items", str(folder / "items.csv"), "--content", "song:audio"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "song: 2 of 3 sounds cannot be read; the first, of item 'b', is not a sound. Relative paths start" in error
    monkeypatch.setattr(sounds, "READER", "no_such_package")
    (folder / "b.mp3").write_bytes(b"ID3")
    (folder / "items.csv").write_text("item,song\na,a.wav\nb,b.mp3\n")
    assert main(command) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "items.csv: item 'b': song: this format of sounds needs soundfile, pip install" in error
    assert not (folder / "data").exists()


def test_images_of_bytes_are_no_sounds():
    found, _ = interpreted("t", "p", [b"\x89PNG"], ["a"], None, False, None)
    assert found == "image"


def test_prepare_in_python(folder):
    log = pd.read_csv(folder / "log.csv")
    frames = {"item": ["a", "b", "c"], "song": [np.ones((4, 3)), np.zeros((9, 3)), None]}
    info = prepare(log, folder / "out", min_item_support=1, test_span="0d", validation_span="0d", items=frames)
    assert info["item_columns"]["song"]["examples"] == ["4 frames of 3 bands", "9 frames of 3 bands"]
    assert info["item_columns"]["song"]["shape"] == [FRAMES, 3]
