"""Images of items: read from a path or from bytes, resized once, as uint8."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
SIDE = 64  # pixels of an image as it is stored, in both directions
REFUSED = 0.5  # the share of unreadable images from which a table is refused


def read_image(value, folder: Path, side: int = SIDE) -> np.ndarray:
    """Reads an image and scales it to a square: uint8 [side, side, 3].

    Args:
        value: a path, absolute or relative to `folder`, or the bytes of a file; or a dict with `bytes` or `path`.
        folder: see above.
        side: height and width of the result.

    Raises:
        ValueError: it cannot be read; the message says why.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(value, dict):  # the form of Hugging Face's data sets
        value = value.get("bytes") or value.get("path")
    if not isinstance(value, str | bytes):
        raise ValueError(f"is neither a path nor the bytes of an image, but {type(value).__name__}")
    try:
        with Image.open(io.BytesIO(value) if isinstance(value, bytes) else folder / Path(value).expanduser()) as image:
            image = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            return np.asarray(image, np.uint8)
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except UnidentifiedImageError:
        raise ValueError("is not an image") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be decoded ({str(error).splitlines()[0][:80]})") from None


def looks_like_a_path(value) -> bool:
    """Returns whether a text is the path of an image, by its suffix."""
    return isinstance(value, str) and value.lower().endswith(SUFFIXES) and not value.lower().startswith("http")
