"""Which file of a deposit is what, by its name alone.

Publishers and authors add prefixes (`GSM5732357_A_`), labels (`matrix_A1.mtx`), folders (`outs/spatial/`) and one more
`.gz`, and change the case; none of that matters here. A role takes the best name there is: looks stand in the order of
preference, and several names that fit one look equally well are reported as ambiguous, never chosen from.

Names are those of Space Ranger 1-4, Xenium Onboard Analysis 1-4, the ST pipeline and st_spot_detector, and of copies
of them in GEO, Zenodo and Mendeley Data. Nothing heavy is imported: the tables are validated with this.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

DEFAULT_UNIT = "square_016um"
# Formats of pictures, those that keep most first.
_TIFF = ("ome.tif", "ome.tiff", "tif", "tiff", "btf")
FORMATS = (*_TIFF, "ndpi", "svs", "mrxs", "scn", "jpg", "jpeg", "png", "czi", "nd2")
PICTURE = rf"\.({'|'.join(re.escape(one) for one in FORMATS)})$"
TABLE = r"\.(csv|tsv|txt)$"
BREAK = r"[/_. -]"  # what stands before a word of a name; every plain name starts with one
REST = r"([_. -][^/]*)?"  # what may stand behind it
ARCHIVE = re.compile(r"\.(tar|tgz|zip)$")

# Never looked at, whatever the reader.
NEVER = re.compile(
    r"\.(fastq|fq|bam|bai|cram|cloupe|vloupe|loupe|html?|pdf|rds|rda|rdata|robj|loom|md5|sha1|sha256|gtf|bed|r|py|ipynb"
    r"|sh|md|log|docx?|xlsx?|pptx?)$"
    r"|molecule_info|metrics_summary|raw_probe|probe_set|filelist\.txt$|tissue_spot_counts|\.zarr/"
    r"|/(analysis|aux_outputs|__macosx)/|/\."
    rf"|{BREAK}(readme|licen[cs]e|manifest|changelog|(md5|sha256|check)sums?)[^/]*$"
)
# Words of pictures made of the full-resolution H&E, or of something else.
DERIVED = r"mask(s|ed)?|overlay|dapi|umap|tsne|fig(ure)?\d*|fiducials?|annot\w*|clusters?|heatmap"
REDUCED = r"tissue_(hires|lowres)_image|hires|lowres|high_?res|low_?res|downsampled"
NO_SLIDE = re.compile(
    r"aligned_(fiducials|tissue_image)|detected_tissue_image|cytassist_image|cytassist[^/_]*$|spatial_enrichment"
    rf"|{BREAK}({REDUCED}){REST}$|/morphology_focus/|{BREAK}morphology(_focus|_mip)?[^/a-z]*\.ome\.tiff?$"
    rf"|{BREAK}(if|{DERIVED})[_-]image[^/]*$"
)
NO_SLIDE_UNLESS_NAMED = re.compile(rf"{BREAK}({DERIVED}|if)[_. -][^/]*$|{BREAK}(thumb(nail)?|preview)\.[^/]*$")


@dataclass(frozen=True)
class Roles:
    """Roles of a reader.

    Attributes
    ----------
    needed
        Without one of these a sample cannot be built; the picture is among them.
    optional
        Taken if they are there.
    either
        Optional ones of which one is needed.
    wanted
        Optional ones that are looked for as if they were needed, in archives too.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()


ROLES = {
    "st_v1": Roles(("counts", "image"), ("spots", "transform"), either=("spots", "transform")),
    "visium": Roles(
        ("counts", "image"),
        ("spots", "features", "barcodes", "scalefactors", "alignment", "cytassist_image", "hires_image"),
        wanted=("spots",),
    ),
    "visium_hd": Roles(
        ("counts", "spots", "image"),
        (
            "features",
            "barcodes",
            "scalefactors",
            "cell_segmentations",
            "barcode_mappings",
            "cytassist_image",
            "hires_image",
        ),
    ),
    "xenium": Roles(
        ("counts", "cells", "experiment", "image"),
        ("features", "barcodes", "transcripts", "cell_boundaries", "nucleus_boundaries", "alignment", "morphology"),
    ),
}


@dataclass(frozen=True)
class Assignment:
    """What a set of names offers to a reader.

    Attributes
    ----------
    roles
        Role -> name.
    archives
        Names of archives that may hold what is missing, likeliest first.
    missing
        Needed and wanted roles that no name fits; where one of several is needed, the first of them.
    ambiguous
        Role -> names that fit it equally well; such a role is neither in `roles` nor in `missing`.
    why
        Role -> how its name was recognised.
    unused
        Names that are in none of these.
    """

    roles: dict[str, str]
    archives: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ambiguous: dict[str, tuple[str, ...]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recognition:
    """The reader that a set of names calls for, and by which name; no reader if none is recognised."""

    reader: str | None
    why: str


class Look(NamedTuple):
    """How a file of some kind is called: in words, and as a pattern of plain names."""

    words: str
    pattern: str


class Parcel(NamedTuple):
    """An archive that pipelines or publishers make: a pattern of its plain name, and the roles its files have."""

    pattern: str
    holds: frozenset[str]


def _slide(*first: Look) -> tuple[Look, ...]:
    """Looks of the full-resolution picture, the usual ones behind those given; only the last two are guesses."""
    return (
        *first,
        Look("full-resolution picture", rf"{BREAK}full[_-]?(res|resolution|image|size)[^/]*{PICTURE}"),
        Look("picture called H&E", rf"{BREAK}(he|h&e|h_e|hne){REST}{PICTURE}"),
        Look("picture called image", rf"{BREAK}image{PICTURE}"),
        *GUESSED_SLIDES,
    )


GUESSED_SLIDES = (
    Look("picture in a folder of H&E pictures", rf"{BREAK}(he|h&e|hne|histolog[^/]*|st-imgs)(/[^/]*)*/[^/]*{PICTURE}"),
    Look("the only picture that can be it", PICTURE),
)
TISSUE_IMAGE = Look("tissue image", rf"{BREAK}tissue_image{PICTURE}")

MATRIX = r"_(feature|gene)_bc_matri(x|ces)"
MEX_TAIL = r"(?!.*raw_(feature|gene)).*\.mtx$"
SPOT_COUNTS = (
    Look("filtered counts, HDF5", rf"filtered{MATRIX}[^/]*\.h5$"),
    Look("filtered counts, Market Exchange", rf"filtered{MATRIX}{MEX_TAIL}"),
    Look("filtered counts, HDF5", r"(?<!un)filtered[^/]*\.h5$"),
    Look("filtered counts, Market Exchange", rf"(?<!un)filtered{MEX_TAIL}"),
    Look("raw counts, HDF5", rf"raw{MATRIX}[^/]*\.h5$"),
    Look("raw counts, Market Exchange", rf"raw{MATRIX}.*\.mtx$"),
    Look("counts, Market Exchange", r"matrix[^/]*\.mtx$"),
)
HIRES = (Look("reduced picture of Space Ranger", r"tissue_hires_image[^/]*\.(png|jpe?g)$"),)
CYTASSIST = (
    Look("CytAssist picture", r"cytassist_image[^/]*\.tiff?$"),
    Look("CytAssist picture", r"cytassist[^/_]*\.tiff?$"),
)
POSITIONS = rf"tissue_positions(_list)?(?P<more>[^/]*)(\.parquet$|{TABLE})"
SCALEFACTORS = (
    Look("scale factors", r"scalefactors_json[^/]*\.json$"),
    Look("scale factors", r"scale_?factors?[^/]*\.json$"),
)
OUTLINES = (Look("outlines of cells", r"(?<!annotated_)cell_segmentations[^/]*\.geojson$"),)

LOOKS: dict[str, dict[str, tuple[Look, ...]]] = {
    "visium": {
        "counts": (
            *SPOT_COUNTS,
            Look("counts, h5ad", r"\.h5ad$"),
            Look("counts, HDF5", r"(?<!feature_slice)\.h5$"),
            Look("table of counts", rf"{BREAK}(counts?|expression|umis?|stdata|matrix){REST}{TABLE}"),
        ),
        "spots": (
            Look("positions, parquet", r"tissue_positions[^/]*\.parquet$"),
            Look("positions with a header", rf"tissue_positions(?!_list)[^/]*{TABLE}"),
            Look("positions of Space Ranger 1", rf"tissue_positions_list[^/]*{TABLE}"),
            Look("table of positions", rf"{BREAK}positions?{REST}{TABLE}"),
            Look("table of coordinates", rf"{BREAK}coord(inate)?s?{REST}{TABLE}"),
        ),
        "scalefactors": SCALEFACTORS,
        "alignment": (
            Look("Loupe alignment", r"alignment_file[^/]*\.json$"),
            Look("Loupe alignment", rf"{BREAK}(loupe|alignment|manual_?alignment){REST}\.json$"),
            Look("Loupe alignment, by slide and area", r"v\d{1,2}[a-z]\d{2}-\d{3}[_-][a-d]1?[^/]*\.json$"),
        ),
        "cytassist_image": CYTASSIST,
        "hires_image": HIRES,
        "image": _slide(TISSUE_IMAGE),
    },
    "visium_hd": {
        "counts": SPOT_COUNTS,
        "spots": (
            Look("positions, parquet", r"tissue_positions[^/]*\.parquet$"),
            Look("positions", rf"tissue_positions[^/]*{TABLE}"),
        ),
        "scalefactors": SCALEFACTORS,
        "cell_segmentations": OUTLINES,
        "barcode_mappings": (Look("map of barcodes", r"barcode_mappings[^/]*\.parquet$"),),
        "cytassist_image": CYTASSIST,
        "hires_image": HIRES,
        "image": _slide(TISSUE_IMAGE),
    },
    "xenium": {
        "counts": (
            Look("counts of cells, HDF5", r"cell_feature_matrix[^/]*\.h5$"),
            Look("counts of cells, Market Exchange", r"cell_feature_matrix.*\.mtx$"),
            Look("counts, Market Exchange", r"matrix[^/]*\.mtx$"),
        ),
        "cells": tuple(Look("table of cells", rf"{BREAK}cells\.{suffix}$") for suffix in ("parquet", "csv")),
        "experiment": (Look("description of the run", r"experiment[^/]*\.xenium$"), Look("the run", r"\.xenium$")),
        "transcripts": tuple(Look("transcripts", rf"transcripts\.{suffix}$") for suffix in ("parquet", "csv")),
        "cell_boundaries": tuple(
            Look("outlines of cells", rf"cell_boundaries\.{suffix}$") for suffix in ("parquet", "csv")
        ),
        "nucleus_boundaries": tuple(
            Look("outlines of nuclei", rf"nucleus_boundaries\.{suffix}$") for suffix in ("parquet", "csv")
        ),
        "alignment": (
            Look("H&E alignment", r"he_imagealignment[^/]*\.csv$"),
            Look("image alignment", r"imagealignment[^/]*\.csv$"),
            Look("keypoints or alignment", rf"{BREAK}(keypoints|(he_)?alignment){REST}\.csv$"),
        ),
        "morphology": (
            Look("DAPI stack", rf"{BREAK}morphology\.ome\.tiff?$"),
            Look("DAPI in focus", rf"{BREAK}morphology_(focus|mip)\.ome\.tiff?$"),
        ),
        "image": _slide(Look("H&E image", rf"{BREAK}he_image{PICTURE}")),
    },
    "st_v1": {
        "spots": (
            Look("spots under tissue, of the spot detector", rf"spot_data-selection[^/]*{TABLE}"),
            Look("selection of spots", rf"selections?[^/]*{TABLE}"),
            Look("selection of spots, by its folder", rf"selections?[^/]*/[^/]*{TABLE}"),
            Look("all spots of the spot detector", rf"spot_data-all[^/]*{TABLE}"),
            Look("table of spots", rf"{BREAK}spots?[_-](?!per_|clust|count|type|annot|label|meta)[^/]*{TABLE}"),
            Look("alignment table", rf"alignment_table[^/]*{TABLE}"),
            Look("table in a folder of spots", rf"spots?[^/]*/[^/]*{TABLE}"),
            Look("table of coordinates", rf"{BREAK}(?<!labeled_)(?<!labelled_)coord(inate)?s?{REST}{TABLE}"),
        ),
        "transform": (Look("transformation from array to picture", rf"transform(ation)?[^/]*{TABLE}"),),
        "counts": (
            Look("counts of aligned spots", rf"stdata_aligned_counts_ids[^/]*{TABLE}"),
            Look("table of counts of the ST pipeline", rf"stdata[^/]*{TABLE}"),
            Look("count matrix", rf"count[_-]?matri(x|ces)[^/]*{TABLE}"),
            Look("table of counts", rf"{BREAK}(counts?|cnts?|expression|umis?){REST}{TABLE}"),
            Look("table in a folder of counts", rf"(counts?|cnts?|count[_-]?matri(x|ces)|expression)/[^/]*{TABLE}"),
            Look(
                "the only table that can be it",
                rf"^(?!.*{BREAK}(coord\w*|meta(data)?|annot\w*|labels?|labeled\w*|clusters?|barcodes|genes?|features"
                rf"|positions?|transform\w*|pathology){BREAK}[^/]*$).*\.(csv|tsv)$",
            ),
        ),
        "image": _slide(),
    },
}
CELL_LOOKS = {
    "counts": (
        Look("counts of cells, HDF5", r"filtered_feature_cell_matrix[^/]*\.h5$"),
        Look("counts of cells, Market Exchange", r"filtered_feature_cell_matrix.*\.mtx$"),
    ),
    "spots": OUTLINES,
    "cell_segmentations": (),
}
# What pipelines call `image` is the slide only where no CytAssist was used; every HD sample goes through one.
CALLED_IMAGE = rf"(?<!tissue)(?<!he)(?<!full){BREAK}image\.tiff?$"
NEVER_IN_ROLE = {
    ("visium", "image"): NO_SLIDE,
    ("visium_hd", "image"): re.compile(f"{NO_SLIDE.pattern}|{CALLED_IMAGE}"),
    ("xenium", "image"): NO_SLIDE,
    ("st_v1", "image"): NO_SLIDE,
    ("xenium", "alignment"): re.compile(rf"{BREAK}if_imagealignment"),
}

SIGNS = (
    ("xenium", rf"experiment[^/]*\.xenium$|{BREAK}cell_feature_matrix|he_imagealignment\.csv$|xe_outs\.zip$"),
    (
        "visium_hd",
        r"square_(002|008|016)um|binned_outputs|segmented_outputs|feature_slice\.h5$|cell_segmentations\.geojson$"
        r"|tissue_positions[^/]*\.parquet$|cloupe_008um",
    ),
    (
        "visium",
        r"tissue_positions|scalefactors_json|tissue_(hires|lowres)_image|aligned_fiducials|detected_tissue_image"
        rf"|{BREAK}spatial(/|\.(tar|tgz|zip)$)",
    ),
    (
        "st_v1",
        rf"{BREAK}stdata[^/]*{TABLE}|spot_data-(all|selection)|{BREAK}selection{TABLE}|/st-(cnts|spotfiles)/"
        rf"|{BREAK}transformation{TABLE}|count_matrix[^/]*{TABLE}|alignment_table[^/]*{TABLE}"
        rf"|(spot-?selections?|spotfiles)/",
    ),
    # No file of a layout, but a name that says what it is.
    ("xenium", rf"{BREAK}xenium"),
    ("visium_hd", rf"{BREAK}visium[_ -]?hd{BREAK}"),
    ("visium", rf"{BREAK}visium{BREAK}"),
)

BINS = frozenset({"counts", "spots", "scalefactors"})
RUN = frozenset({"counts", "cells", "experiment", "transcripts", "cell_boundaries", "nucleus_boundaries"})
# The archives that are worth opening, in this order.
PARCELS: dict[str, tuple[Parcel, ...]] = {
    "visium": (
        Parcel(rf"{BREAK}spatial\.(tar|tgz|zip)$", frozenset({"spots", "scalefactors"})),
        Parcel(rf"filtered{MATRIX}[^/]*\.(tar|tgz|zip)$", frozenset({"counts"})),
        Parcel(rf"{BREAK}outs\.(tar|tgz|zip)$", BINS),
    ),
    "visium_hd": (
        Parcel(r"{unit}(_outputs)?\.(tar|tgz|zip)$", BINS),
        Parcel(r"binned_outputs\.(tar|tgz|zip)$", BINS),
        Parcel(rf"{BREAK}outs\.(tar|tgz|zip)$", BINS),
    ),
    "xenium": (
        Parcel(rf"(?<!{BREAK}xe){BREAK}outs\.(tar|tgz|zip)$", RUN),
        Parcel(rf"{BREAK}xe_outs\.(tar|tgz|zip)$", RUN),
        Parcel(r"cell_feature_matrix\.(tar|tgz)$", frozenset({"counts"})),
    ),
    "st_v1": (),
}
CELL_PARCELS = (
    Parcel(r"segmented_outputs\.(tar|tgz|zip)$", BINS),
    Parcel(rf"{BREAK}outs\.(tar|tgz|zip)$", BINS),
)
# Archives without anything a reader wants.
NO_PARCEL = re.compile(
    rf"{BREAK}(analysis|fastqs?|bam|cloupe|aux_outputs|raw_probe_bc_matrix|deconvolution)\.(tar|tgz|zip)$|\.zarr\.zip$"
)
LAST_RESORT = re.compile(rf"raw{MATRIX}[^/]*\.(tar|tgz|zip)$|{BREAK}raw\.tar$")


def assign(names: Iterable[str], reader: str, *, unit: str | None = None) -> Assignment:
    """Give each role of a reader the name that fits it best.

    Parameters
    ----------
    names
        Paths with `/`, as a listing or an archive has them; their order does not matter.
    reader
        Name of a reader in `ROLES`.
    unit
        For Visium HD: `square_002um`, `square_008um`, `square_016um` (the default) or `cell`.
    """
    plain = {name: _plain(name) for name in sorted(set(names))}
    job = _Assigning(reader, unit or DEFAULT_UNIT, plain)
    for role in job.looks:
        job.fill(role)
    job.add_cytassist()
    job.add_positions()
    missing = job.missing()
    archives = _archives(plain, reader, unit, missing)
    named = {*job.roles.values(), *archives, *(name for names in job.ambiguous.values() for name in names)}
    return Assignment(
        roles=job.roles,
        archives=archives,
        missing=missing,
        ambiguous=job.ambiguous,
        why=job.why,
        unused=tuple(name for name in plain if name not in named),
    )


def recognise(names: Iterable[str]) -> Recognition:
    """The technology a set of names looks like, by the most telling name.

    A count matrix alone tells nothing: single cells without a place have one too.
    """
    plain = {name: _plain(name) for name in sorted(set(names))}
    for reader, sign in SIGNS:
        for name, text in plain.items():
            if re.search(sign, text):
                return Recognition(reader, f"{name} is a file of {reader}")
    return Recognition(None, "no name is one of a known layout")


def matches(name: str, patterns: str | None) -> bool:
    """Whether a name, or its last part, fits one of the shell patterns of a row's `files`; no patterns fit all."""
    if not patterns:
        return True
    last = name.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, one) or fnmatch.fnmatchcase(last, one) for one in patterns.split())


def is_archive(name: str) -> bool:
    """Whether a name is that of a .tar, .tar.gz, .tgz or .zip archive."""
    return bool(ARCHIVE.search(_plain(name))) and not _plain(name).endswith(".zarr.zip")


def _plain(name: str) -> str:
    """A name without what copies add: case, and the `.gz` of a file packed once more; it starts with `/`."""
    text = name.lower().replace("\\", "/")
    while text.endswith(".gz"):
        text = text.removesuffix(".gz")
    return "/" + text.lstrip("/")


class _Assigning:
    """One assignment on its way; `plain` maps the names, sorted, to their plain forms."""

    def __init__(self, reader: str, unit: str, plain: Mapping[str, str]) -> None:
        self.reader = reader
        self.unit = unit
        self.plain = plain
        self.files = [name for name in plain if not ARCHIVE.search(plain[name]) and not NEVER.search(plain[name])]
        self.looks = {**LOOKS[reader], **(CELL_LOOKS if reader == "visium_hd" and unit == "cell" else {})}
        self.roles: dict[str, str] = {}
        self.why: dict[str, str] = {}
        self.ambiguous: dict[str, tuple[str, ...]] = {}

    def fill(self, role: str) -> None:
        """Give a role its name, or note that several are as good."""
        taken = {*self.roles.values(), *(name for names in self.ambiguous.values() for name in names)}
        excluded = NEVER_IN_ROLE.get((self.reader, role))
        free = [
            name for name in self.files if name not in taken and not (excluded and excluded.search(self.plain[name]))
        ]
        for names in self._by_unit(free, role):
            found, words = self._best(names, role)
            if len(found) > 1:
                self.ambiguous[role] = tuple(found)
            elif found:
                self._take(role, found[0], words)
            if found:
                return

    def missing(self) -> tuple[str, ...]:
        """Needed and wanted roles that no name fits; where one of several is needed, the first stands for all."""
        roles, settled = ROLES[self.reader], {*self.roles, *self.ambiguous}
        first = roles.either[:1] if not settled & set(roles.either) else ()
        return tuple(role for role in (*roles.needed, *first, *roles.wanted) if role not in settled)

    def add_cytassist(self) -> None:
        """Beside `_tissue_image`, and in any HD sample, what is called `_image` is the CytAssist instrument's."""
        image = self.plain.get(self.roles.get("image", ""), "")
        if "cytassist_image" not in self.looks or {"cytassist_image"} & {*self.roles, *self.ambiguous}:
            return
        if self.reader == "visium" and not re.search(TISSUE_IMAGE.pattern, image):
            return
        found = [name for name in self.files if re.search(CALLED_IMAGE, self.plain[name])]
        found = [name for name in found if name not in self.roles.values() and not NO_SLIDE.search(self.plain[name])]
        if len(found) == 1:
            self._take("cytassist_image", found[0], "called image beside a tissue image")

    def add_positions(self) -> None:
        """An h5ad may hold the positions too: without a file of their own, they are looked for in it."""
        counts = self.roles.get("counts", "")
        is_open = "spots" not in self.roles and "spots" not in self.ambiguous
        if self.reader == "visium" and is_open and self.plain.get(counts, "").endswith(".h5ad"):
            self._take("spots", counts, "no table of positions; the h5ad of the counts may hold them")

    def _take(self, role: str, name: str, words: str) -> None:
        self.roles[role] = name
        self.why[role] = words
        if role == "counts" and self.plain[name].endswith(".mtx"):
            for partner, found in self._partners(name).items():
                self.roles[partner] = found
                self.why[partner] = "beside the matrix, with its prefix"

    def _by_unit(self, names: list[str], role: str) -> list[list[str]]:
        """The names in the order they are looked through: those that say they are of the unit, then those that do not.

        Files of other units are left out; what all units share (pictures, outlines) is first looked for outside them.
        """
        if self.reader != "visium_hd" or role in ("image", "barcode_mappings", "cell_segmentations"):
            return [names]
        own = [name for name in names if _unit_of(self.plain[name]) == self.unit]
        common = [name for name in names if _unit_of(self.plain[name]) is None]
        return [common, own] if role == "cytassist_image" else [own, common]

    def _best(self, names: Sequence[str], role: str) -> tuple[list[str], str]:
        """The names that fit the first look any name fits, and that look in words.

        A matrix in Market Exchange format without its two lists is only taken where there is nothing else.
        """
        incomplete: tuple[list[str], str] = ([], "")
        names = self._vendors_positions(names) if role == "spots" else names
        for look in self.looks[role]:
            found = [name for name in names if re.search(look.pattern, self.plain[name])]
            if look in GUESSED_SLIDES:
                found = [name for name in found if not NO_SLIDE_UNLESS_NAMED.search(self.plain[name])]
            found = _one_format(found, self.plain) if role == "image" else _without_repeats(found)
            found = _exact(found, look, self.plain)
            if found and self.plain[found[0]].endswith(".mtx"):
                complete = [name for name in found if len(self._partners(name)) == 2]
                incomplete = incomplete if complete or incomplete[0] else (found, f"{look.words}, alone")
                found = complete
            if found:
                return found, look.words
        return incomplete

    def _vendors_positions(self, names: Sequence[str]) -> Sequence[str]:
        """The names less tables of positions that lengthen the vendor's name, where the vendor's own is beside them."""
        found = {name: match for name in names if (match := re.search(POSITIONS, self.plain[name]))}
        exact = {name: match for name, match in found.items() if not match["more"]}
        before = {self.plain[name][: match.start()] for name, match in exact.items()}
        if len(before) != 1 or not all(self.plain[name].startswith(tuple(before)) for name in found):
            return names
        return [name for name in names if name not in found or name in exact]

    def _partners(self, matrix: str) -> dict[str, str]:
        """The gene and spot lists of a matrix in Market Exchange format: same folder, same prefix, same label."""
        before, _, after = self.plain[matrix].removesuffix(".mtx").rpartition("matrix")
        partners = {}
        for role, kinds in (("features", "features|genes"), ("barcodes", "barcodes")):
            pattern = re.compile(rf"{re.escape(before)}({kinds}){re.escape(after)}\.(tsv|csv|txt)")
            found = _without_repeats([name for name in self.files if pattern.fullmatch(self.plain[name])])
            if len(found) == 1:
                partners[role] = found[0]
        return partners


def units_of(names: Iterable[str]) -> list[str]:
    """Units of Visium HD that a set of names has, the finest first, cells last."""
    found = {_unit_of(_plain(name)) for name in names}
    return sorted((unit for unit in found if unit), key=lambda unit: (unit == "cell", unit))


def _unit_of(plain: str) -> str | None:
    """The unit a file of Visium HD belongs to, if its folder or its name says so."""
    bins = re.search(rf"{BREAK}(?:square_)?(002|008|016)um(?![a-z0-9])", plain)
    if bins:
        return f"square_{bins[1]}um"
    return "cell" if re.search(r"segmented_outputs|feature_cell_matrix|cell_segmentations", plain) else None


def _exact(names: list[str], look: Look, plain: Mapping[str, str]) -> list[str]:
    """Of names of one folder that fit a look, the one that is just what the look is called, if one is.

    `tissue_positions_list.csv` is the vendor's, `tissue_positions_list_log_UMI.csv` beside it somebody's. With a prefix
    before it (`GSM1_tissue_positions_list.csv`) it is the exact one of the names with that prefix only.
    """
    if len(names) < 2 or look in GUESSED_SLIDES:
        return names
    pattern = re.compile(look.pattern.replace(REST, "").replace("[^/]*", ""))
    exact = [(name, match) for name in names if (match := pattern.search(plain[name]))]
    if len(exact) != 1:
        return names
    name, match = exact[0]
    stem = plain[name][: plain[name].rindex(".")]
    others = [plain[other] for other in names if other != name]
    return [name] if all(re.match(rf"{re.escape(stem)}[_. -][^/]*$", other) for other in others) else names


def _one_format(names: Sequence[str], plain: Mapping[str, str]) -> list[str]:
    """Of the same picture in several formats, the one that keeps most."""
    kept = _without_repeats(names)
    if len({re.sub(PICTURE, "", plain[name]) for name in kept}) > 1:
        return kept
    return sorted(kept, key=lambda name: next(i for i, one in enumerate(FORMATS) if plain[name].endswith(f".{one}")))[
        :1
    ]


def _without_repeats(names: Sequence[str]) -> list[str]:
    """Names less the packed copy of a file that is there unpacked too."""
    there = set(names)
    return [name for name in names if not (name.endswith(".gz") and name.removesuffix(".gz") in there)]


def _archives(plain: Mapping[str, str], reader: str, unit: str | None, missing: Sequence[str]) -> tuple[str, ...]:
    """Archives that may hold what is missing, likeliest first.

    One that says nothing of its content is only listed where those that do leave something open; an archive of raw
    matrices, and a series' RAW.tar, only where there is no other.
    """
    parcels = CELL_PARCELS if unit == "cell" else PARCELS[reader]
    names = [name for name in plain if ARCHIVE.search(plain[name]) and not NO_PARCEL.search(plain[name])]
    chosen: list[str] = []
    covered: set[str] = set()
    for parcel in parcels:
        pattern = parcel.pattern.replace("{unit}", unit or DEFAULT_UNIT)
        found = [name for name in names if name not in chosen and re.search(pattern, plain[name])]
        if found and parcel.holds & set(missing):
            chosen += found
            covered |= parcel.holds
    told = [name for name in names if any(re.search(one.pattern, plain[name]) for one in (*parcels, *PARCELS[reader]))]
    others = [name for name in names if name not in told and name not in chosen]
    if set(missing) - covered:
        better = [name for name in others if not LAST_RESORT.search(plain[name])]
        chosen += better or ([] if chosen or _are_members(plain) else others)
    return tuple(chosen)


def _are_members(plain: Mapping[str, str]) -> bool:
    """Whether files of GEO samples are listed singly: then a series' RAW.tar holds nothing else."""
    return any(re.search(r"/gsm\d+[^/]*$", text) for text in plain.values())
