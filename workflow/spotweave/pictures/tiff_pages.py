"""Which page of a TIFF is the picture, what its reduced copies are, and how each is decoded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyvips

from spotweave.errors import Refusal
from spotweave.pictures.channels import as_colours, check_rgb, joined
from spotweave.pictures.pages import Page, page_by_imagecodecs, page_of_tags
from spotweave.pictures.tiff_tags import BLACK_IS_ZERO, JPEG, OPACITY, PAGES_MAX, Tags, TiffTags

Load = Callable[[], pyvips.Image]
COUNTS = {2: "two", 3: "three", 4: "four"}


@dataclass
class Chosen:
    """The picture of a TIFF.

    Attributes
    ----------
    load, levels
        Open it, and its reduced copies, as filed.
    size_px
        Width and height.
    page
        The page, where it is one and libvips decodes it.
    header
        What libvips says of the page, None where it cannot open it.
    is_opacity
        Whether the band beyond the colours is opacity by its tag.
    is_first
        Whether it is the file's first page.
    """

    load: Load
    levels: list[Load]
    size_px: tuple[int, int]
    page: Page | None
    header: pyvips.Image | None
    description: str | None
    is_opacity: bool
    is_first: bool
    notes: list[str] = field(default_factory=list)


def choose(path: Path, tags: TiffTags | None, check: Callable[[int, pyvips.Image], None]) -> Chosen:
    """The largest page of a TIFF, or three grey pages that are its red, green and blue.

    Parameters
    ----------
    path, tags
        The file, and what its pages say; None where tifffile cannot read it, so that libvips' word for its first page
        counts.
    check
        Number and picture of the chosen page -> nothing; refuses what may not be decoded, before anything is.

    Raises
    ------
    Refusal
        No decoder knows how it is packed, too many pages, or grey pages of which none is the picture.
    """
    if tags is None:
        page = Page(path)
        image = page.load()
        check(0, image)
        page = page.with_fail_on(_fail_on(page, image))
        return Chosen(page.load, [], (image.width, image.height), page, image, describe(image), True, True)
    if (0, None) not in tags.pages:
        raise Refusal(
            f"{path.name}: the picture cannot be decoded (the tags of its first page are damaged); fetch it again"
        )
    if tags.count > PAGES_MAX:
        raise Refusal(f"{path.name}: {tags.count} pages, at most {PAGES_MAX} are looked at", measured=tags.count)
    pages = [page for (_, subifd), page in tags.pages.items() if subifd is None]
    best, left_out = _largest(pages)
    missing = tags.count - len(pages)
    if missing and best.number:
        raise Refusal(
            f"{path.name}: {missing} of {tags.count} pages cannot be read, the picture may be one of them;"
            " fetch it again",
            measured=missing,
        )
    page, image = _opened(path, tags, best, check)
    header = image if page.tiles is None else _header(path, best.number)
    description = describe(_header(path, 0)) if best.number else describe(header)
    chosen = Chosen(
        load=page.load,
        levels=[],
        size_px=(best.width_px, best.height_px),
        page=page if page.tiles is None else None,
        header=header,
        description=(describe(header) if best.number else None) or description,
        is_opacity=best.extra_samples[:1] != () and best.extra_samples[0] in OPACITY,
        is_first=best.number == 0,
    )
    if missing:
        chosen.notes.append(f"{missing} of {tags.count} pages cannot be read and were left out")
    chosen.notes += _left_out(left_out)
    alike = [one for one in pages if _shape(one) == _shape(best)]
    if best.samples == 1 and len(alike) > 1:
        _join(chosen, path, tags, alike, page.fail_on)
        return chosen
    if best.number:
        size = f"{best.width_px} x {best.height_px} px"
        chosen.notes.append(f"page {best.number + 1} of {tags.count} is the picture: {size}, the largest")
    elif len(alike) > 1:
        chosen.notes.append(f"the first of {len(alike)} pages of the same size is taken")
    if page.tiles is None and page.fail_on != "warning" and best.compression != JPEG:  # `jpeg_tiles` looks at these
        chosen.notes.append("tags that libtiff warns of: damage of single tiles is not seen")
    chosen.levels = _loads(path, _copies(tags, best, pages), page.fail_on)
    if best.samples >= 3 and best.photometric <= BLACK_IS_ZERO:
        _take_for_colours(chosen, path, best)
    return chosen


def _left_out(page: Tags | None) -> list[str]:
    if page is None:
        return []
    size = f"{page.width_px} x {page.height_px} px"
    return [f"page {page.number + 1} ({size}) is a reduced copy, a label or a macro by its tag"]


def _opened(
    path: Path, tags: TiffTags, best: Tags, check: Callable[[int, pyvips.Image], None]
) -> tuple[Page, pyvips.Image]:
    """A page with who decodes it, and its header as libvips has it."""
    page = page_of_tags(path, best)
    image = page.load()
    if (image.width, image.height) != (best.width_px, best.height_px):
        raise Refusal(
            f"{path.name}: the picture cannot be decoded (its tags are read as {image.width} x {image.height} px and as"
            f" {best.width_px} x {best.height_px} px); fetch it again"
        )
    check(best.number, image)
    if page.tiles is None and best.tile_px is None and tags.pages[0, None].tile_px is not None:
        page = page_by_imagecodecs(page) or page  # libvips takes the strips for tiles too, and reads them in any order
    if page.tiles is None:
        page = page.with_fail_on(_fail_on(page, image))
        if page.fail_on != "warning":
            page = page_by_imagecodecs(page) or page
    return page, image


def _largest(pages: list[Tags]) -> tuple[Tags, Tags | None]:
    """The picture among pages, colours before grey of one size, and a larger page that is called a reduced copy.

    Scanners call labels and macros so, which are larger than a slide of a small region.
    """

    def size(page: Tags) -> int:
        return page.width_px * page.height_px

    own = [page for page in pages if not page.is_called_reduced] or pages
    best = max(own, key=lambda page: (size(page), page.samples >= 3, -page.number))
    largest = max(pages, key=size)
    return best, largest if size(largest) > size(best) else None


def describe(image: pyvips.Image | None) -> str | None:
    """The text of the description tag."""
    return None if image is None or not image.get_typeof("image-description") else str(image.get("image-description"))


def _join(chosen: Chosen, path: Path, tags: TiffTags, alike: list[Tags], fail_on: str) -> None:
    """Three grey pages as one picture, and their reduced copies likewise."""
    what = f"{COUNTS.get(len(alike), str(len(alike)))} grey pages"
    loads = [page_of_tags(path, one, fail_on).load for one in alike]
    chosen.notes.append(check_rgb(path, joined(loads), len(alike), chosen.description, what))
    copies = [tags.subifds(one.number) for one in alike]
    if len({tuple((copy.width_px, copy.height_px) for copy in each) for each in copies}) == 1:
        each_level = [_loads(path, list(level), fail_on) for level in zip(*copies, strict=True)]
        chosen.levels = [joined(level) for level in each_level if len(level) == len(alike)]
    chosen.load, chosen.page, chosen.is_first, chosen.is_opacity = joined(loads), None, False, False


def _take_for_colours(chosen: Chosen, path: Path, best: Tags) -> None:
    """Bands that the file calls grey and two bands more: red, green and blue if they look like it."""
    chosen.load, chosen.page, chosen.is_first = as_colours(chosen.load), None, False
    chosen.levels = [as_colours(level) for level in chosen.levels]
    what = f"{COUNTS.get(best.samples, str(best.samples))} bands called grey"
    chosen.notes.append(check_rgb(path, chosen.load, best.samples, chosen.description, what))


def _copies(tags: TiffTags, full: Tags, pages: list[Tags]) -> list[Tags]:
    later = [page for page in pages if page.number > full.number]
    return [copy for copy in (*tags.subifds(full.number), *later) if _is_reduced(full, copy)]


def _loads(path: Path, copies: list[Tags], fail_on: str) -> list[Load]:
    """Those that a decoder is known for: the picture itself does not need them."""
    found = []
    for copy in copies:
        try:
            page = page_of_tags(path, copy, fail_on)
        except Refusal:
            continue
        found.append((page if fail_on == "warning" else page_by_imagecodecs(page) or page).load)
    return found


def _is_reduced(full: Tags, page: Tags) -> bool:
    """Whether a page is `full` reduced: tiled like it, sides smaller by one power of two, up to rounding.

    Scanners write the label and the macro in strips, behind the levels or before the slide.
    """
    if full.tile_px is None or page.tile_px is None or not page.width_px or page.width_px >= full.width_px:
        return False
    if _shape(page)[2:] != _shape(full)[2:]:
        return False
    power = 2 ** round(math.log2(full.width_px / page.width_px))
    near = abs(full.width_px / power - page.width_px) <= 1 and abs(full.height_px / power - page.height_px) <= 1
    return power > 1 and near


def _shape(tags: Tags) -> tuple[int, int, int, int, str]:
    return tags.width_px, tags.height_px, tags.samples, tags.bits, tags.kind


def _header(path: Path, number: int) -> pyvips.Image | None:
    try:
        return Page(path, number).load()
    except pyvips.Error:
        return None


def _fail_on(page: Page, image: pyvips.Image) -> str:
    """What a TIFF is decoded by: "error" where its tags alone make libtiff warn, as many scanners' do, else "warning".

    Such a file warns at every tile, a damaged one at the damaged ones: both ends of the picture are tried. Of strips
    only the first is: those below are read through it, and errors find most of their damage.
    """
    corners = ((0, 0), (image.width - 1, image.height - 1)) if image.get_typeof("tile-width") else ((0, 0),)
    access = "random" if len(corners) > 1 else "sequential"
    for x, y in corners:
        try:
            # Read anew: libvips would hand out the opened file again, which remembers that it failed.
            again = pyvips.Image.tiffload(
                str(page.path), page=page.number, access=access, fail_on="warning", revalidate=True, **page.limits
            )
            again.crop(x, y, 1, 1).avg()
        except pyvips.Error:
            continue
        return "warning"
    return "error"
