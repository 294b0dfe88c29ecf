"""Makes the golden of pictures and sounds: how they are read, and what their encoders computed on the day it was made.

    python -m tests.goldens.media

`media.npz` holds the outputs alone: files and weights follow from a seed.
"""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from tfrecsession.layers.items.item_content import ContentEncoder
from tfrecsession.sessions.content_columns import ContentColumn
from tfrecsession.sessions.images import read_image
from tfrecsession.sessions.sounds import read_sound

FILE = Path(__file__).parent / "media.npz"
SEED = 3
DIM = 6


def outputs() -> dict[str, np.ndarray]:
    """Returns a picture and a sound as they are read, in part, their encodings and the lengths of the gradients."""
    generator = np.random.default_rng(SEED)
    photo, song = read_image(picture(generator), Path()), read_sound(sound(generator), Path())
    found = {"photo": photo[::8, ::8], "song": song[::16, ::16].astype(np.float32)}
    columns = (
        ContentColumn("photo", "image", shape=photo.shape),
        ContentColumn("song", "audio", width=song.shape[1], mean=2.0, deviation=1.5, shape=song.shape),
    )
    for column, tensor in zip(columns, (photo, song), strict=True):
        encoder = ContentEncoder((column,), DIM)
        for weight in encoder.trainable_weights:
            weight.assign(generator.normal(size=weight.shape))
        rows = np.stack([tensor, tensor[::-1], np.zeros_like(tensor)])
        content = {column.name: tf.constant(rows), f"{column.name}/present": tf.constant([1.0, 1.0, 0.0])}
        if column.kind == "audio":
            content[column.name] = tf.cast(content[column.name], tf.float32)
        with tf.GradientTape() as tape:
            encoded = encoder(content)  # (3, DIM)
            loss = tf.reduce_sum(tf.square(encoded))
        gradients = tape.gradient(loss, encoder.trainable_weights)
        found[f"{column.kind}_encoded"] = encoded.numpy()
        found[f"{column.kind}_gradients"] = np.array([np.linalg.norm(gradient) for gradient in gradients])
    return found


def picture(generator) -> bytes:
    """Returns a PNG file of 40 x 30 pixels."""
    file = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (30, 40, 3), np.uint8)).save(file, "png")
    return file.getvalue()


def sound(generator) -> bytes:
    """Returns a WAV file of half a second: two tones and noise."""
    file, time = io.BytesIO(), np.arange(11_025) / 22_050
    signal = (
        np.sin(2 * np.pi * 440 * time) + 0.5 * np.sin(2 * np.pi * 3000 * time) + generator.normal(0, 0.1, len(time))
    )
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 22_050, 0, "NONE", ""))
        out.writeframes((8000 * signal).astype("<i2").tobytes())
    return file.getvalue()


if __name__ == "__main__":
    np.savez_compressed(FILE, **outputs())
