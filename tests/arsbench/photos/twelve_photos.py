"""Twelve photos of all sorts: generated faces, and one real one, on larger backgrounds."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageCms

import arsbench
from arsbench.faces.delivery import to_bytes
from arsbench.photos.picture import BACK, ORIENTATION

FACE_BOXES = {
    "portrait.jpg": "260,300,660,700",
    "landscape.png": "350,75,606,331",
    "large.jpg": "1400,700,2400,1700",
    "grey.jpg": "150,100,406,356",
    "deep.png": "150,100,406,356",
    "inks.jpg": "150,100,406,356",
    "rotated.jpg": "150,100,406,356",
    "clear.png": "150,100,406,356",
    "two.png": "200,200,460,460;800,300,1060,560",
    "none.png": "none",
    "web.webp": "150,100,406,356",
    "stereo.mpo": "150,100,406,356",
}
"""Where the faces are, as ``--faces`` takes it, by file name."""
MAKER, TAKEN = "Camera & Söhne", "2026:11:25 12:00:00"


@functools.cache
def _faces() -> np.ndarray:
    x, _ = arsbench.load_faces(n=60)
    return to_bytes(x).numpy()


def background(width: int, height: int, seed: int) -> Image.Image:
    """Soft patches with a little grain."""
    draws = np.random.default_rng(seed)
    patches = Image.fromarray(draws.integers(70, 180, (6, 8, 3), dtype=np.uint8))
    values = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    return Image.fromarray(np.clip(values + draws.normal(0, 3, (height, width, 1)), 0, 255).astype(np.uint8))


def with_face(width: int, height: int, *faces: tuple[int, int, int, int]) -> Image.Image:
    """A background with faces, each as (number, left, top, side)."""
    picture = background(width, height, faces[0][0] if faces else 0)
    for number, left, top, side in faces:
        face = Image.fromarray(_faces()[number]).resize((side, side), Image.Resampling.BICUBIC)
        picture.paste(face, (left, top))
    return picture


def metadata(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[ORIENTATION] = MAKER.encode("latin-1"), orientation
    exif.get_ifd(0x8769).update({0x9003: TAKEN, 0x829A: (1, 125)})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0)})
    return exif


@functools.cache
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def make(name: str, path: Path, scale: float = 1.0) -> Path:
    """Writes one of the twelve to ``path``; ``large.jpg`` at ``scale`` of its 12 megapixels."""
    exif, icc = metadata().tobytes(), profile()
    small = functools.partial(with_face, 560, 460)
    if name == "portrait.jpg":
        with_face(900, 1200, (40, 260, 300, 400)).save(path, quality=90, exif=exif, icc_profile=icc)
    elif name == "landscape.png":
        with_face(900, 420, (41, 350, 75, 256)).save(path, exif=exif, icc_profile=icc)
    elif name == "large.jpg":
        place = [round(v * scale) for v in (1400, 700, 1000)]
        with_face(round(4000 * scale), round(3000 * scale), (42, *place)).save(path, quality=85, exif=exif)
    elif name == "grey.jpg":
        small((43, 150, 100, 256)).convert("L").save(path, quality=92, exif=exif)
    elif name == "deep.png":
        values = np.asarray(small((44, 150, 100, 256)).convert("L"), dtype=np.uint16) * 257
        values += np.random.default_rng(0).integers(0, 200, values.shape, dtype=np.uint16) * (values < 65000)
        Image.fromarray(values).save(path, exif=exif)
    elif name == "inks.jpg":
        small((45, 150, 100, 256)).convert("CMYK").save(path, quality=95, exif=exif)
    elif name == "rotated.jpg":
        upright = small((46, 150, 100, 256))
        upright.transpose(BACK[6]).save(path, quality=95, exif=metadata(6).tobytes())
    elif name == "clear.png":
        picture = small((47, 150, 100, 256))
        alpha = np.full((460, 560), 255, np.uint8)
        alpha[:60], alpha[60:90] = 0, 128
        picture.putalpha(Image.fromarray(alpha))
        picture.save(path, exif=exif, icc_profile=icc)
    elif name == "two.png":
        with_face(1200, 800, (48, 200, 200, 260), (49, 800, 300, 260)).save(path)
    elif name == "none.png":
        Image.fromarray(skimage.data.coffee()).save(path)
    elif name == "web.webp":
        small((50, 150, 100, 256)).save(path, quality=90, exif=exif, icc_profile=icc)
    elif name == "stereo.mpo":
        left, right = small((51, 150, 100, 256)), small((51, 160, 100, 256))
        left.save(path, "MPO", save_all=True, append_images=[right], exif=exif, quality=92)
    else:
        raise KeyError(name)
    return path


def astronaut() -> Image.Image:
    """A real face, of scikit-image."""
    return Image.fromarray(skimage.data.astronaut())


def png_bytes(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()
