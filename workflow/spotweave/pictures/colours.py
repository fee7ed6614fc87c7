"""Colours as they are meant: profiles that are not sRGB are applied, opacity is laid on white."""

from __future__ import annotations

import io

import numpy as np
import pyvips

PROFILE = "icc-profile-data"
STEPS = 9
# A profile that moves no colour by more is sRGB under another name: scanners' own differ by a level or two.
SAME_COLOUR = 3
NAME_LENGTH_MAX = 60


def as_rgb(picture: pyvips.Image) -> pyvips.Image:
    """An 8-bit picture as three bands, transparency laid on white."""
    if picture.hasalpha():
        picture = picture.flatten(background=[255])
    if picture.interpretation != "srgb":
        picture = picture.colourspace("srgb")
    return picture.cast("uchar") if picture.format != "uchar" else picture


def in_srgb(rgb: pyvips.Image, profile: bytes | None) -> tuple[pyvips.Image, str | None]:
    """8-bit RGB with the colours that its profile says, and what was done in words; None where nothing was to do.

    Relative colorimetric, so that white stays white. A profile that cannot be used, or that is of other colours than
    RGB, leaves the colours as filed.
    """
    if profile is None:
        return rgb, None
    from PIL import ImageCms

    try:
        # libvips takes sRGB for what it cannot read, and RGB for what a profile of XYZ or Lab says of them.
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
        if space != "RGB":
            return rgb, f"its colour profile is one of {space}, not of RGB: colours as filed"
        levels = np.linspace(0, 255, STEPS).round().astype(np.uint8)
        lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(STEPS, -1, 3)
        colours = _converted(pyvips.Image.new_from_array(lattice).copy(interpretation="srgb"), profile).numpy()
    except (pyvips.Error, OSError):
        return rgb, "its colour profile cannot be used: colours as filed"
    if np.abs(colours.astype(int) - lattice).max() <= SAME_COLOUR:
        return rgb, None
    return _converted(rgb, profile), f"colours converted to sRGB from its profile{_name(profile)}"


def profile_of(page: pyvips.Image) -> bytes | None:
    """The profile of an RGB page; those of grey and CMYK pages are no statement about its RGB."""
    if page.bands < 3 or page.interpretation == "cmyk" or not page.get_typeof(PROFILE):
        return None
    return bytes(page.get(PROFILE))


def _converted(rgb: pyvips.Image, profile: bytes) -> pyvips.Image:
    rgb = rgb.copy()
    rgb.set_type(pyvips.GValue.blob_type, PROFILE, profile)
    done = rgb.icc_transform("srgb", embedded=True, intent="relative", depth=8)
    done = done.copy()
    done.remove(PROFILE)
    return done


def _name(profile: bytes) -> str:
    from PIL import ImageCms

    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return ""
    plain = " ".join(name.split())[:NAME_LENGTH_MAX]
    return f" ({plain})" if plain else ""
