"""Photos of any size, mode, format and orientation keep what they are, and no sample moves beyond epsilon."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from arsbench.photos.protect import STRENGTHS, PhotoProtector, Wanted
from tests.arsbench.photos import twelve_photos

STORED = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("L", "RGB", "RGBA", "CMYK", "I;16"),
    "BMP": ("L", "RGB"),
    "GIF": ("L", "P"),
}
BECOMES = {"1": "L", "P": "RGB"}
"""Modes without room for noise, of pictures without transparency."""


def soft(width, height, mode, seed):
    draws = np.random.default_rng(seed)
    channels = {"CMYK": 4, "RGBA": 4, "LA": 2, "L": 1, "1": 1, "I;16": 1}.get(mode, 3)
    rough = draws.integers(0, 256, (3, 4, channels), dtype=np.uint8)
    planes = [Image.fromarray(rough[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)]
    if mode == "I;16":
        return Image.fromarray(np.asarray(planes[0], dtype=np.uint16) * 257)
    if mode in ("1", "P"):
        return (planes[0] if mode == "1" else Image.merge("RGB", planes)).convert(mode)
    return planes[0] if channels == 1 else Image.merge(mode, planes)


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example is small as it is
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from([(format, mode) for format, modes in STORED.items() for mode in modes]),
    width=st.integers(16, 130),
    height=st.integers(16, 130),
    orientation=st.integers(1, 8),
    strength=st.sampled_from(sorted(STRENGTHS)),
    boxed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_photo_keeps_size_mode_and_metadata_within_epsilon(
    fake, tmp_path_factory, kind, width, height, orientation, strength, boxed, seed
):
    format, mode = kind
    folder = tmp_path_factory.mktemp("photo")
    source = folder / f"photo.{format.lower()}"
    described = {} if format in ("BMP", "GIF") else {"exif": twelve_photos.metadata(orientation).tobytes()}
    if format == "TIFF":
        described["exif"] = Image.Exif()
        described["exif"].load(twelve_photos.metadata(orientation).tobytes())
    soft(width, height, mode, seed).save(
        source, format, **described, **({"lossless": True} if format == "WEBP" else {})
    )
    with Image.open(source) as before:
        before.load()  # which turns a TIFF file upright
        turned = before.getexif().get(0x0112)
    faces = "2,3,14,15" if boxed else "none"
    protector = PhotoProtector(
        Wanted(fake("Push"), fake("Mirror"), strength=strength, faces=faces, verify=False, device="cpu")
    )
    outcome = protector.protect_file(source, folder / "out")
    with Image.open(outcome.path) as after:
        after.load()
    assert after.size == before.size
    if before.mode in BECOMES or "transparency" in before.info:
        assert outcome.notes
    else:
        assert after.mode == before.mode
    before = before if before.mode == after.mode else before.convert(after.mode)
    top = 65535 if after.mode.startswith("I") else 255
    a, b = (np.asarray(picture).astype(np.int64) for picture in (before, after))
    assert np.abs(a - b).max() <= np.floor(STRENGTHS[strength] / 2 * top + 1e-6)
    if "A" in after.mode:
        assert np.array_equal(a[..., -1], b[..., -1])
    if described and outcome.format != "BMP":
        exif = after.getexif()
        assert exif.get(0x0112) == turned
        assert format == "TIFF" or turned == orientation
        assert exif.get_ifd(0x8769)[0x9003] == twelve_photos.TAKEN
        assert not exif.get_ifd(0x8825)
