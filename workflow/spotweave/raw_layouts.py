"""Which file of a deposit is what, by its name alone.

Publishers and authors add prefixes (`GSM5732357_A_`), folders (`outs/spatial/`) and a second `.gz`, and change the
case; none of that matters here. A role takes the best name there is: patterns stand in the order of preference, and
several names that fit one pattern equally well are reported as ambiguous, never chosen from.

Names are those of Space Ranger 1-4, Xenium Onboard Analysis 1-4, the ST pipeline and st_spot_detector, and of copies
of them in GEO, Zenodo and Mendeley Data. Nothing heavy is imported: the tables are validated with this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

DEFAULT_UNIT = "square_016um"
PICTURE = r"\.(ome\.tiff?|tiff?|btf|ndpi|svs|mrxs|scn|czi|nd2|jpe?g|png)"
PICTURE_ORDER = (
    "ome.tif",
    "ome.tiff",
    "tif",
    "tiff",
    "btf",
    "ndpi",
    "svs",
    "mrxs",
    "scn",
    "jpg",
    "jpeg",
    "png",
    "czi",
    "nd2",
)
TABLE = r"\.(csv|tsv|txt)"
ARCHIVE = re.compile(r"\.(tar|tar\.gz|tgz|zip)$")
# Pictures that are never the full-resolution H&E.
NO_SLIDE = re.compile(
    r"hires|lowres|aligned_|detected_tissue|fiducial|cytassist_image|morphology|thumbnail|preview|mask|overlay|dapi"
    r"|(^|[_./-])if[_-]image|spatial_enrichment|umap|tsne|/analysis/|aux_outputs|figure"
)
NEVER = re.compile(
    r"\.(fastq|fq|bam|bai|cloupe|vloupe|html?|pdf|rds|rdata|loom|zarr|md5|gtf|r|py|ipynb|docx?|xlsx?)$"
    r"|molecule_info|metrics_summary|raw_probe|probe_set|filelist\.txt|/analysis/|(^|/)\."
)


@dataclass(frozen=True)
class Roles:
    """Roles of a reader: `needed` to build a sample (the picture included), `optional` taken if they are there."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


ROLES = {
    "st_v1": Roles(("counts", "spots", "image"), ("transform",)),
    "visium": Roles(
        ("counts", "spots", "image"),
        ("features", "barcodes", "scalefactors", "alignment", "cytassist_image", "hires_image"),
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
        Needed roles without a name.
    ambiguous
        Role -> names that fit it equally well; such a role is not in `roles`.
    why
        Role -> how its name was recognised.
    unused
        Names without a role.
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


def _slide(*better: str) -> tuple[str, ...]:
    """Patterns of the full-resolution picture, the usual ones after those given."""
    return (
        *better,
        rf"full[_-]?(res|resolution|image)[^/]*{PICTURE}$",
        rf"(^|[_./-])image{PICTURE}$",
        rf"(^|[_./ -])(he|h&e|h_e|hne)([_./ -][^/]*)?{PICTURE}$",
        rf"(he|h&e|histolog)[^/]*/[^/]*{PICTURE}$",
        rf"{PICTURE}$",
    )


VISIUM_COUNTS = (
    r"filtered_feature_bc_matrix\.h5$",
    r"filtered_(gene|feature)_bc_matri(x|ces)(_h5)?\.h5$",
    r"filtered_(gene|feature)_bc_matri(x|ces)[/_.-]([^/]*/)?matrix\.mtx$",
    r"raw_(gene|feature)_bc_matri(x|ces)(_h5)?\.h5$",
    r"raw_(gene|feature)_bc_matri(x|ces)[/_.-]([^/]*/)?matrix\.mtx$",
    r"matrix\.mtx$",
    r"\.h5ad$",
    r"(?<!feature_slice)\.h5$",
    rf"(count|expression|stdata|umi|(?<!scale)matrix)[^/]*{TABLE}$",
)
POSITIONS = (
    r"tissue_positions\.parquet$",
    r"tissue_positions\.csv$",
    r"tissue_positions_list\.(csv|txt|tsv)$",
    rf"positions?[^/]*{TABLE}$",
    rf"coord[^/]*{TABLE}$",
)

PATTERNS: dict[str, dict[str, tuple[str, ...]]] = {
    "visium": {
        "counts": VISIUM_COUNTS,
        "spots": POSITIONS,
        "scalefactors": (r"scalefactors_json\.json$", r"scale_?factors[^/]*\.json$"),
        "alignment": (
            r"alignment_file\.json$",
            r"(loupe|alignment)[^/]*\.json$",
            r"v\d+[a-z]\d+-\d+[_-][a-d]1?[^/]*\.json$",
        ),
        "cytassist_image": (r"cytassist_image\.tiff?$",),
        "hires_image": (r"tissue_hires_image\.(png|jpe?g)$",),
        "image": _slide(rf"tissue_image{PICTURE}$"),
    },
    "visium_hd": {
        "counts": (r"filtered_feature_bc_matrix\.h5$", r"filtered_feature_bc_matrix/matrix\.mtx$", r"matrix\.mtx$"),
        "spots": (r"tissue_positions\.parquet$", r"tissue_positions\.csv$"),
        "scalefactors": (r"scalefactors_json\.json$",),
        "cell_segmentations": (r"(?<!annotated_)cell_segmentations\.geojson$",),
        "barcode_mappings": (r"barcode_mappings\.parquet$",),
        "cytassist_image": (r"cytassist_image\.tiff?$",),
        "hires_image": (r"tissue_hires_image\.(png|jpe?g)$",),
        "image": _slide(rf"tissue_image{PICTURE}$"),
    },
    "xenium": {
        "counts": (r"cell_feature_matrix\.h5$", r"cell_feature_matrix/matrix\.mtx$", r"matrix\.mtx$"),
        "cells": (r"(^|[/_.-])cells\.parquet$", r"(^|[/_.-])cells\.csv$"),
        "experiment": (r"experiment\.xenium$",),
        "transcripts": (r"transcripts\.parquet$", r"transcripts\.csv$"),
        "cell_boundaries": (r"cell_boundaries\.parquet$", r"cell_boundaries\.csv$"),
        "nucleus_boundaries": (r"nucleus_boundaries\.parquet$", r"nucleus_boundaries\.csv$"),
        "alignment": (r"he_imagealignment\.csv$", r"(?<!if_)imagealignment\.csv$", r"(keypoints|alignment)[^/]*\.csv$"),
        "morphology": (r"morphology\.ome\.tiff?$",),
        "image": _slide(rf"he_image{PICTURE}$"),
    },
    "st_v1": {
        "spots": (
            rf"spot_data-selection[^/]*{TABLE}$",
            rf"selection[^/]*{TABLE}$",
            rf"spot_data-all[^/]*{TABLE}$",
            rf"(^|/)spots?[_-][^/]*{TABLE}$",
            rf"alignment_table[^/]*{TABLE}$",
            rf"spot[^/]*/[^/]*{TABLE}$",
        ),
        "transform": (r"transformation[^/]*\.txt$",),
        "counts": (
            rf"stdata_aligned_counts_ids{TABLE}$",
            rf"stdata[^/]*{TABLE}$",
            rf"count[_-]?matri(x|ces)[^/]*{TABLE}$",
            rf"(counts?|cnts?|expression)[^/]*{TABLE}$",
            rf"(counts?|cnts?|expression)[^/]*/[^/]*{TABLE}$",
            rf"(?<!coords)(?<!metadata)(?<!meta)(?<!coordinates){TABLE}$",
        ),
        "image": _slide(),
    },
}
SIGNS = {
    "xenium": r"experiment\.xenium$|cell_feature_matrix|he_imagealignment\.csv$|xenium[^/]*outs\.zip$|xe_outs\.zip$",
    "visium_hd": r"square_\d{3}um|binned_outputs|segmented_outputs|feature_slice\.h5$|cell_segmentations\.geojson$",
    "visium": r"tissue_positions|scalefactors_json|(filtered|raw)_feature_bc_matrix|tissue_hires_image"
    r"|_spatial\.(tar\.gz|zip)$",
    "st_v1": rf"stdata[^/]*{TABLE}$|spot_data-|selection[^/]*{TABLE}$|st-cnts/|transformation[^/]*\.txt$"
    rf"|count_matrix[^/]*{TABLE}$",
}
# What an archive is likely to hold, in the order in which archives are opened.
LIKELY = {
    "visium": (
        r"_spatial\.(tar\.gz|tgz|zip)$",
        r"filtered_feature_bc_matrix\.(tar\.gz|tgz|zip)$",
        r"outs\.(tar\.gz|tgz|zip)$",
    ),
    "visium_hd": (r"_{unit}_outputs\.tar\.gz$", r"binned_outputs\.(tar\.gz|tgz|zip)$", r"outs\.(tar\.gz|tgz|zip)$"),
    "xenium": (r"(?<!xe)_outs\.(zip|tar\.gz|tgz)$", r"(^|/)outs\.zip$", r"xe_outs\.zip$"),
    "st_v1": (),
}
CELL_ARCHIVES = (r"segmented_outputs\.(tar\.gz|tgz|zip)$", r"outs\.(tar\.gz|tgz|zip)$")
# Archives without anything a reader wants.
NO_ARCHIVE = re.compile(
    r"analysis\.(tar|zip|tgz)|fastqs?\.|_bam\.|raw_feature_bc_matrix\.|cloupe|aux_outputs|zarr\.zip$"
)


def assign(names: Sequence[str], reader: str, *, unit: str | None = None) -> Assignment:
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
    known = sorted(set(names))
    plain = {name: _plain(name) for name in known}
    files = [name for name in known if not ARCHIVE.search(name.lower()) and not NEVER.search(plain[name])]
    roles: dict[str, str] = {}
    why: dict[str, str] = {}
    ambiguous: dict[str, tuple[str, ...]] = {}
    for role, patterns in _patterns(reader, unit).items():
        taken = set(roles.values())
        open_files = [name for name in files if name not in taken and _is_of_unit(plain[name], role, reader, unit)]
        if role == "image":
            open_files = [name for name in open_files if not NO_SLIDE.search(plain[name])]
        found, pattern = _best(open_files, plain, patterns, is_picture=role.endswith("image"))
        if len(found) == 1:
            roles[role] = found[0]
            why[role] = f"name ends like {_in_words(pattern)}"
        elif found:
            ambiguous[role] = tuple(found)
    _add_triplet(roles, why, files, plain)
    _add_cytassist(roles, why, files, plain, reader)
    missing = tuple(role for role in ROLES[reader].needed if role not in roles)
    used = set(roles.values())
    return Assignment(
        roles=roles,
        archives=_archives(known, reader, unit),
        missing=missing,
        ambiguous=ambiguous,
        why=why,
        unused=tuple(name for name in known if name not in used and not ARCHIVE.search(name.lower())),
    )


def recognise(names: Iterable[str]) -> Recognition:
    """The technology a set of names looks like, by the most telling names."""
    ordered = sorted(names)
    for reader, sign in SIGNS.items():
        for name in ordered:
            if re.search(sign, name.lower().removesuffix(".gz") if not ARCHIVE.search(name.lower()) else name.lower()):
                return Recognition(reader, f"{name} is a file of {reader}")
    return Recognition(None, "no name is one of a known layout")


def _plain(name: str) -> str:
    """A name without what copies add: case, and the `.gz` of a file packed once more."""
    return "/" + name.lower().removesuffix(".gz").lstrip("/")


def _patterns(reader: str, unit: str | None) -> dict[str, tuple[str, ...]]:
    if reader != "visium_hd" or unit != "cell":
        return PATTERNS[reader]
    cells = {
        "counts": (r"filtered_feature_cell_matrix\.h5$", r"filtered_feature_cell_matrix/matrix\.mtx$"),
        "spots": (r"(?<!annotated_)cell_segmentations\.geojson$",),
    }
    rest = {role: patterns for role, patterns in PATTERNS[reader].items() if role != "cell_segmentations"}
    return {**rest, **cells}


def _is_of_unit(plain: str, role: str, reader: str, unit: str | None) -> bool:
    """Whether a file belongs to the unit asked for; files outside the folders of units belong to all."""
    if reader != "visium_hd" or role in ("image", "barcode_mappings"):
        return True
    if role == "cytassist_image":
        return "/square_" not in plain and "/segmented_outputs" not in plain
    folder = re.search(r"square_\d{3}um(?=/)|segmented_outputs(?=/)", plain)
    if not folder:
        return True
    wanted = unit or DEFAULT_UNIT
    return folder[0] == ("segmented_outputs" if wanted == "cell" or role == "cell_segmentations" else wanted)


def _best(
    names: Sequence[str], plain: dict[str, str], patterns: Sequence[str], *, is_picture: bool
) -> tuple[list[str], str]:
    """The names that fit the first pattern any name fits, and that pattern."""
    for pattern in patterns:
        found = [name for name in names if re.search(pattern, plain[name])]
        if found:
            return (_one_format(found, plain) if is_picture else _without_repeats(found, plain)), pattern
    return [], ""


def _one_format(names: list[str], plain: dict[str, str]) -> list[str]:
    """Of the same picture in several formats, the one that keeps most."""
    stems = {re.sub(rf"{PICTURE}$", "", plain[name]) for name in names}
    if len(stems) > 1:
        return _without_repeats(names, plain)

    def rank(name: str) -> int:
        return next(
            (i for i, suffix in enumerate(PICTURE_ORDER) if plain[name].endswith(f".{suffix}")), len(PICTURE_ORDER)
        )

    return [min(names, key=rank)]


def _without_repeats(names: list[str], plain: dict[str, str]) -> list[str]:
    """Names less the packed copy of a file that is there unpacked too."""
    first: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name.lower().endswith(".gz"), name)):
        first.setdefault(plain[name], name)
    return sorted(first.values())


def _add_triplet(roles: dict[str, str], why: dict[str, str], files: Sequence[str], plain: dict[str, str]) -> None:
    """The gene and spot lists that lie beside a matrix in Market Exchange format, under the same prefix."""
    counts = plain.get(roles.get("counts", ""), "")
    if not counts.endswith("matrix.mtx"):
        return
    prefix = counts.removesuffix("matrix.mtx")
    for role, endings in (("features", ("features.tsv", "genes.tsv")), ("barcodes", ("barcodes.tsv",))):
        found = [name for ending in endings for name in files if plain[name] == prefix + ending]
        if found:
            roles[role] = sorted(found, key=lambda name: name.lower().endswith(".gz"))[0]
            why[role] = "beside the matrix, with its prefix"


def _add_cytassist(
    roles: dict[str, str], why: dict[str, str], files: Sequence[str], plain: dict[str, str], reader: str
) -> None:
    """Beside `_tissue_image`, what is called `_image` is the picture of the CytAssist instrument."""
    image = plain.get(roles.get("image", ""), "")
    if not reader.startswith("visium") or "cytassist_image" in roles or "tissue_image" not in image:
        return
    stem = re.sub(rf"tissue_image{PICTURE}$", "", image)
    found = [name for name in files if re.fullmatch(rf"{re.escape(stem)}image\.tiff?", plain[name])]
    if len(found) == 1:
        roles["cytassist_image"] = found[0]
        why["cytassist_image"] = "called image beside a tissue image"


def _archives(names: Sequence[str], reader: str, unit: str | None) -> tuple[str, ...]:
    """Archives that may hold what is missing, likeliest first; a series' RAW.tar only where there is nothing else."""
    likely = CELL_ARCHIVES if unit == "cell" else LIKELY[reader]
    patterns = [pattern.replace("{unit}", unit or DEFAULT_UNIT) for pattern in likely]
    ranked = []
    for name in names:
        lower = name.lower()
        if not ARCHIVE.search(lower) or NO_ARCHIVE.search(lower):
            continue
        rank = next((i for i, pattern in enumerate(patterns) if re.search(pattern, lower)), len(patterns))
        ranked.append((rank + lower.endswith("_raw.tar"), name))
    only_named = [entry for entry in ranked if entry[0] < len(patterns)]
    if reader != "st_v1" and only_named:
        ranked = only_named
    return tuple(name for _, name in sorted(ranked))


def _in_words(pattern: str) -> str:
    """A pattern as a person would write it."""
    text = pattern.replace(PICTURE, ".<picture>").replace(TABLE, ".<table>").rstrip("$")
    text = re.sub(r"\(\?<![^)]*\)|\(\^\|[^)]*\)\]?\)?", "", text)
    return re.sub(r"\[\^/\]\*|\\", "", text) or "a picture"
