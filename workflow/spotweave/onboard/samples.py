"""Which files of an accession belong to which sample, by their names.

Files are sorted into samples by what is left of their names without the words that say what a file is: of
`GSM5732357_A_filtered_feature_bc_matrix.h5` that is `GSM5732357_A`. What has counts, or an archive that may have them,
is a sample; other files go to the one sample whose label they share.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spotweave.deposits.naming import is_archive
from spotweave.intake.layouts import assign, matches
from spotweave.intake.recognise import recognise
from spotweave.readers import READERS

# Words of a name that say what the file is, not whose.
KINDS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:un)?filtered|raw|(?:feature|gene)_bc_matri(?:x|ces)(?:_h5)?|feature_cell_matrix|cell_feature_matrix|matri(?:x|ces)"
    r"|barcodes|features|genes|tissue_positions(?:_list)?|positions?|scale_?factors?(?:_json)?|json"
    r"|(?:tissue_)?(?:hires|lowres)(?:_image)?|aligned_fiducials|fiducials|(?:detected_|aligned_)?tissue_image"
    r"|cytassist(?:_image)?|(?:he|if)_image(?:alignment)?|full[_-]?(?:res(?:olution)?|image|size)|images?|imgs?"
    r"|spatial(?:_enrichment)?|outs?|xe_outs|binned_outputs|segmented_outputs|square_\d{3}um(?:_outputs)?|feature_slice"
    r"|experiment|cells|transcripts|(?:cell|nucleus)_(?:boundaries|segmentations)|morphology(?:_focus|_mip)?(?:_\d+)?"
    r"|gene_panel|barcode_mappings|stdata(?:_aligned_counts_ids)?|spot_data-(?:selection|all)|spot-?files?"
    r"|spot-?selections?|selections?|spots?|(?:labell?ed_)?coord(?:inate)?s?|h&e|hne|he|st-(?:cnts|imgs|spotfiles|pat)"
    r"|count[_-]matri(?:x|ces)(?:-\d)?|counts?|cnts?|expression|transform(?:ation)?|alignment(?:_table|_file)?|lbl"
    r"|molecule_info|web_summary|metrics_summary|cloupe(?:_\d{3}um)?|analysis|probe_set|histolog\w+|wsis?|data"
    r"|metadata|meta|(?:with_)?annotations?|mask(?:s|ed)?|thumbnails?|loupe|h5ad|h5|mex|mtx|patches|pixel_size_vis"
    r"|(?:tissue|cellvit|xenium)_seg|spatial_plots"
    r")(?![A-Za-z0-9&])",
    re.IGNORECASE,
)
# Words that name a technology: part of a sample's name in one file, left out in the next.
TECHNOLOGY_WORDS = re.compile(r"(?<![A-Za-z0-9])(?:visium(?:[_ -]hd)?|xenium|st)(?![A-Za-z0-9])", re.IGNORECASE)
SUFFIXES = re.compile(
    r"(\.(gz|tar|tgz|zip|h5ad|h5|mtx|csv|tsv|txt|json|geojson|parquet|xenium|html|cloupe|ome|tiff?|btf|ndpi|svs|qptiff|scn"
    r"|bif|svslide|dcm|mrxs|jp2|j2k|webp|czi|vsi|nd2|lif|jpe?g|png|rds|rdata|fastq|bam|pdf|md|xlsx?|docx?|yaml|loom))+$",
    re.IGNORECASE,
)
BREAKS = re.compile(r"[\s_.,()+-]+")
NO_SAMPLE = re.compile(r"code|scripts?|figures?|source_?data|annotations?|supplement\w*", re.IGNORECASE)
SAMPLE_OF_GEO = re.compile(r"(?:^|/)(GSM\d+)(?=[_.-])")
SERIES_OF_GEO = re.compile(r"(?:^|/)GSE\d+[^/]*$")


@dataclass(frozen=True)
class Group:
    """The files of one sample: `label` is what their names have in common, empty for an accession of one sample."""

    label: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Grouping:
    """Samples in natural order, and the files that belong to none or to all of them."""

    groups: tuple[Group, ...]
    shared: tuple[str, ...] = ()


def group_files(names: Iterable[str]) -> Grouping:
    """Sort the files of an accession into samples."""
    clusters: dict[tuple[str, ...], list[str]] = defaultdict(list)
    raw_labels: dict[tuple[str, ...], str] = {}
    for name in sorted(set(names)):
        key, label = _label(name)
        clusters[key].append(name)
        if len(label) < len(raw_labels.setdefault(key, label)):
            raw_labels[key] = label
    anchors = _anchors(clusters)
    if len(anchors) <= 1:
        label = raw_labels[anchors[0]] if anchors else ""
        found = sorted(name for one in clusters.values() for name in one)
        return Grouping((Group(label, tuple(found)),)) if anchors else Grouping((), tuple(found))
    members = {key: list(clusters[key]) for key in anchors}
    shared: list[str] = []
    for key, found in clusters.items():
        if key not in members:
            home = _home(key, anchors)
            (members[home] if home is not None else shared).extend(found)
    groups = [Group(raw_labels[key], tuple(sorted(found))) for key, found in members.items()]
    return Grouping(tuple(sorted(groups, key=lambda one: _natural(one.label))), tuple(sorted(shared)))


def _label(name: str) -> tuple[tuple[str, ...], str]:
    """What is left of a name without the words that say what it is: comparable, folder by folder, and as written."""
    sample = SAMPLE_OF_GEO.search(name)
    *folders, last = name.split("/")
    parts = [KINDS.sub(" ", part) for part in (*folders, SUFFIXES.sub("", last))]
    plain = [BREAKS.sub(" ", TECHNOLOGY_WORDS.sub(" ", part)).strip().lower() for part in parts]
    written = [re.sub(r"[\s_]+", "_", part).strip("_.-") for part in parts]
    label = "/".join(dict.fromkeys(part for part, core in zip(written, plain, strict=True) if core))
    key = (sample[1].lower(),) if sample else tuple(dict.fromkeys(part for part in plain if part))
    return key, label


def _anchors(clusters: Mapping[tuple[str, ...], Sequence[str]]) -> list[tuple[str, ...]]:
    """The labels that stand for samples: those with counts, or else with an archive."""
    of_geo = any(SAMPLE_OF_GEO.search(name) for found in clusters.values() for name in found)
    strong, archived = [], []
    for key, found in clusters.items():
        if of_geo and all(SERIES_OF_GEO.search(name) for name in found):
            continue  # of the whole series
        if has_counts(found) or (of_geo and recognise(found).reader):
            strong.append(key)
        elif any(is_archive(name) and not NO_SAMPLE.search(name) for name in found):
            archived.append(key)
    told = [key for key in archived if recognise(clusters[key]).reader]
    if strong or told:
        return sorted({*strong, *told})
    return sorted(archived)


def has_counts(names: Sequence[str]) -> bool:
    """Whether names have counts; a table that only might be counts needs company."""
    for reader in READERS.names():
        found = assign(names, reader)
        is_guess = found.why.get("counts", "").startswith("the only")
        if "counts" in found.roles and (not is_guess or len(found.roles) > 1):
            return True
        if "counts" in found.ambiguous and (reader != "st_v1" or recognise(names).reader == reader):
            return True
    return False


def _home(key: tuple[str, ...], anchors: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The one sample whose label a file shares: the longest of those it contains, else the one that contains it."""
    if not key:
        return None
    inner = [anchor for anchor in anchors if anchor and _is_within(anchor, key)]
    longest = [one for one in inner if len(" ".join(one)) == max(len(" ".join(other)) for other in inner)]
    outer = [anchor for anchor in anchors if _is_within(key, anchor)]
    for candidates in (longest, outer):
        if candidates:
            return candidates[0] if len(candidates) == 1 else None
    return None


def _is_within(small: tuple[str, ...], big: tuple[str, ...]) -> bool:
    """Whether each part of a label is, or is a run of whole words of, a part of the other."""
    return all(any(f" {part} " in f" {other} " for other in big) for part in small)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which A2 stands before A10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"(\d+)", text) if part]


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return next((first[:i] for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), first)


def pattern_of(group: Group, grouping: Grouping, names: Sequence[str], reader: str | None) -> str | None:
    """Shell patterns that choose the files of a sample and of no other, as the fetch will apply them."""
    others = [name for one in grouping.groups if one != group for name in one.names]
    folders = defaultdict(list)
    for name in group.names:
        folders[name.rpartition("/")[0]].append(name)
    prefixes = [_common_start(found) for found in folders.values()]
    last = group.label.rpartition("/")[2]
    candidates = [
        f"{_escaped(_common_start(group.names))}*",
        f"{_escaped(_common_start(group.names))}[_./-]*",
        f"*{_escaped(last)}*",
        f"*[_/]{_escaped(last)}[_.]* {_escaped(last)}[_.]*",
        " ".join(f"{_escaped(prefix)}*" for prefix in prefixes),
        " ".join(f"{_escaped(prefix.rstrip('_.'))}[_./-]*" for prefix in prefixes),
        " ".join(map(_escaped, group.names)),
    ]
    wanted = assign(group.names, reader) if reader else None
    for pattern in candidates:
        if any(matches(name, pattern) for name in others) or not all(matches(name, pattern) for name in group.names):
            continue
        seen = assign([name for name in names if matches(name, pattern)], reader) if reader else None
        if seen is None or wanted is None or (seen.roles, seen.ambiguous) == (wanted.roles, wanted.ambiguous):
            return pattern
    return None


def _escaped(text: str) -> str:
    """A text as a shell pattern of itself; blanks, which part patterns, stand for any character."""
    return re.sub(r"\s", "?", re.sub(r"([\[*?])", r"[\1]", text))
