"""What files of deposits are called: the words in which a reader's `layout.py` says it, and what holds for all readers.

Publishers and authors add prefixes (`GSM5732357_A_`), labels (`matrix_A1.mtx`), folders (`outs/spatial/`) and one more
`.gz`, and change the case. Patterns are therefore regular expressions for the *plain* form of a name (`plain`): lower
case, without `.gz`, starting with `/`. They are searched for, not matched from the start.

Only the standard library is imported: the tables are checked with the layouts before anything is started.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

# Formats of pictures, those that keep most first.
_TIFF = ("ome.tif", "ome.tiff", "tif", "tiff", "btf")
_SCANNERS = ("ndpi", "svs", "qptiff", "scn", "bif", "svslide", "dcm", "mrxs")
FORMATS = (*_TIFF, *_SCANNERS, "jp2", "j2k", "jpg", "jpeg", "png", "webp", "czi", "vsi", "nd2", "lif")
PICTURE = rf"\.({'|'.join(re.escape(one) for one in FORMATS)})$"
TABLE = r"\.(csv|tsv|txt)$"
BREAK = r"[/_. -]"  # what stands before a word of a name; every plain name starts with one
REST = r"([_. -][^/]*)?"  # what may stand behind it
ARCHIVE = r"\.(tar|tgz|zip)$"

# The matrix of 10x Genomics' pipelines, in Market Exchange format, and its two lists: same folder, prefix and label.
MATRIX = r"_(feature|gene)_bc_matri(x|ces)"
MEX_TAIL = r"(?!.*raw_(feature|gene)).*\.mtx$"
LISTS = {"features": "features|genes", "barcodes": "barcodes"}

# Words of pictures made of the full-resolution H&E, or of something else.
DERIVED = r"mask(s|ed)?|overlay|dapi|umap|tsne|fig(ure)?\d*|fiducials?|annot\w*|clusters?|heatmap"
REDUCED = r"tissue_(hires|lowres)_image|hires|lowres|high_?res|low_?res|downsampled"
NO_SLIDE = (
    r"aligned_(fiducials|tissue_image)|detected_tissue_image|cytassist_image|cytassist[^/_]*$|spatial_enrichment"
    rf"|{BREAK}({REDUCED}){REST}$|/morphology_focus/|{BREAK}morphology(_focus|_mip)?[^/a-z]*\.ome\.tiff?$"
    rf"|{BREAK}(if|{DERIVED})[_-]image[^/]*$"
)
NO_SLIDE_UNLESS_NAMED = rf"{BREAK}({DERIVED}|if)[_. -][^/]*$|{BREAK}(thumb(nail)?|preview)\.[^/]*$"


class Look(NamedTuple):
    """How a file of some kind is called: in words, and as a pattern of plain names.

    A guess is only taken for a file that no other word of its name speaks against (`NO_SLIDE_UNLESS_NAMED`).
    """

    words: str
    pattern: str
    is_guess: bool = False


class Late(NamedTuple):
    """A role that is looked for when the others have their files, because of what these are.

    Of the names that fit `pattern` and not `never`, one alone is taken. `beside` is another role and the pattern that
    its file must fit. With `shares`, the file of that other role is taken for this one too, if it fits.
    """

    role: str
    words: str
    pattern: str
    never: str = ""
    beside: tuple[str, str] | None = None
    shares: str = ""


class Parcel(NamedTuple):
    """An archive that pipelines or publishers make: a pattern of its plain name, and the roles its files have.

    `{unit}` in the pattern stands for the unit that a row asks for.
    """

    pattern: str
    holds: frozenset[str]


@dataclass(frozen=True)
class Roles:
    """Roles of a reader's files.

    Attributes
    ----------
    needed
        Without one of these a sample cannot be built; `counts` and `image` are always among them.
    optional
        Taken if they are there.
    either
        Optional ones of which one is needed.
    wanted
        Optional ones that are looked for as if they were needed, in archives too.
    elsewhere
        Those that other stages look at, and `read` is not given.
    left
        Known, so that no other role takes their files, but looked at by no stage and not fetched.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ("image",)
    left: tuple[str, ...] = ()

    @property
    def fetched(self) -> tuple[str, ...]:
        """All that are brought, in the order in which a sample's files are listed."""
        return (*self.needed, *self.optional)

    @property
    def read_always(self) -> tuple[str, ...]:
        """Those that `read` is always given."""
        return tuple(role for role in self.needed if role not in self.elsewhere)

    @property
    def read_if_there(self) -> tuple[str, ...]:
        """Those that `read` is given where a sample has them."""
        return tuple(role for role in self.optional if role not in self.elsewhere)


@dataclass(frozen=True)
class Units:
    """What tells the units of a deposit apart that has its counts more than once: by bins of several sizes, by cells.

    Attributes
    ----------
    default
        The unit that is read where the row names none.
    unit_of
        The unit a file belongs to, by its plain name; None where the name does not say.
    shared
        Roles whose files all units share.
    outside
        Roles looked for outside the units' folders first.
    looks, parcels
        Unit -> what differs from the layout's own: looks by role, and archives.
    """

    default: str
    unit_of: Callable[[str], str | None]
    shared: frozenset[str] = frozenset()
    outside: frozenset[str] = frozenset()
    looks: Mapping[str, Mapping[str, tuple[Look, ...]]] = field(default_factory=dict)
    parcels: Mapping[str, tuple[Parcel, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What the files of a technology are called, by role, and what tells them from those of another one.

    Attributes
    ----------
    roles
        Which roles there are.
    looks
        Role -> how its file may be called, the best first. Roles are given their files in this order. The lists beside
        a matrix in Market Exchange format (`features`, `barcodes`) need no looks.
    signs
        Pattern of names that only this technology has.
    words
        Pattern of names that say what the technology is without being a file of it.
    order
        Deposits of one technology may hold names that are signs of another: that with the least number is told first.
    parcels
        Archives that are worth opening, in this order; others are opened where these leave something missing.
    never
        Role -> pattern of names that never have it.
    own
        Role -> pattern of the vendor's own name, with a group `more` for what others made of it: that gives way.
    late
        Roles looked for after all others.
    units
        For deposits with several units.
    """

    roles: Roles
    looks: Mapping[str, tuple[Look, ...]]
    signs: str = ""
    words: str = ""
    order: int = 100
    parcels: tuple[Parcel, ...] = ()
    never: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    late: tuple[Late, ...] = ()
    units: Units | None = None

    def fault(self) -> str | None:
        """What makes it unusable, in words; None for a usable one."""
        roles = self.roles
        for role in ("counts", "image"):
            if role not in roles.needed:
                return f"its needed roles lack {role!r}"
        unseen = [role for role in roles.fetched if role not in self.looks and role not in LISTS]
        if unseen:
            return f"no looks for {', '.join(unseen)}: nothing says what such a file is called"
        unknown = [role for role in (*self.looks, *self.never, *self.own) if role not in (*roles.fetched, *roles.left)]
        if unknown:
            return f"looks for {unknown[0]!r}, which is none of its roles"
        stray = [role for role in (*roles.either, *roles.wanted) if role not in roles.optional]
        if stray:
            return f"{stray[0]!r} is in 'either' or 'wanted' but not in 'optional'"
        for pattern in self._patterns():
            try:
                re.compile(pattern)
            except re.error as error:
                return f"{pattern!r} is no regular expression ({error})"
        return None

    def _patterns(self) -> list[str]:
        looks = [look.pattern for some in self.looks.values() for look in some]
        parcels = [parcel.pattern.replace("{unit}", "") for parcel in self.parcels]
        return [*looks, *parcels, self.signs, self.words, *self.never.values(), *self.own.values()]


def plain(name: str) -> str:
    """A name without what copies add: case, and the `.gz` of a file packed once more; it starts with `/`."""
    text = name.lower().replace("\\", "/")
    while text.endswith(".gz"):
        text = text.removesuffix(".gz")
    return "/" + text.lstrip("/")


def is_archive(name: str) -> bool:
    """Whether a name is that of a .tar, .tar.gz, .tgz or .zip archive."""
    return bool(re.search(ARCHIVE, plain(name))) and not plain(name).endswith(".zarr.zip")


def slide(*first: Look) -> tuple[Look, ...]:
    """Looks of the full-resolution picture, the usual ones behind those given; the last two are guesses."""
    return (
        *first,
        Look("full-resolution picture", rf"{BREAK}full[_-]?(res|resolution|image|size)[^/]*{PICTURE}"),
        Look("picture called H&E", rf"{BREAK}(he|h&e|h_e|hne){REST}{PICTURE}"),
        Look("picture called image", rf"{BREAK}image{PICTURE}"),
        Look(
            "picture in a folder of H&E pictures",
            rf"{BREAK}(he|h&e|hne|histolog[^/]*|st-imgs)(/[^/]*)*/[^/]*{PICTURE}",
            is_guess=True,
        ),
        Look("the only picture that can be it", PICTURE, is_guess=True),
    )
