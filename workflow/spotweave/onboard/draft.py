"""A cohort table drafted from an accession: which samples it holds, and what their names and its title tell.

Nothing is guessed silently. What names or the title suggest is written and listed as such; what they do not tell is a
`?` in the table, with a line that says what to find out and where to look. A `?` is no valid value, so that a draft
cannot be built before it has been looked through.

Files are sorted into samples by what is left of their names without the words that say what a file is: of
`GSM5732357_A_filtered_feature_bc_matrix.h5` that is `GSM5732357_A`. What has counts, or an archive that may have them,
is a sample; other files go to the one sample whose label they share.
"""

from __future__ import annotations

import csv
import functools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spotweave.errors import Refusal, TableFaults
from spotweave.intake import layouts
from spotweave.intake.layouts import ROLES, Assignment, assign, matches, recognise
from spotweave.io import atomic
from spotweave.plan import tables
from spotweave.sources import Listing
from spotweave.tables import vocabulary

UNKNOWN = "?"
SHOWN = 4
SHOWN_CHARACTERS = 80
LONGEST_ASKED = 2000
TECHNOLOGIES = {
    "st_v1": "Spatial Transcriptomics",
    "visium": "Visium",
    "visium_hd": "Visium HD",
    "xenium": "Xenium",
}
COLUMNS = (
    "sample_id",
    "donor",
    "dataset_title",
    "subseries",
    "technology",
    "species",
    "organ",
    "tissue",
    "disease_state",
    "oncotree_code",
    "preservation",
    "licence",
    "study_link",
    "download_page",
    "source",
    "accession",
    "files",
    "unit",
    "url_confidence",
    "notes",
)


def _words_allowed(column: str) -> str:
    """The words that a cell may hold, for a question."""
    words = vocabulary.words_of(column)
    if column == "organ":  # finer words are the tissue's
        words = tuple(term.name for term in vocabulary.load("organs").terms if not term.cells.get("organ"))
    return ", ".join(words)


# What a person must find out where names do not tell, and what to do if nobody knows.
QUESTIONS = {
    "donor": "whose tissue this is; samples of one donor need the same id, in other tables too",
    "dataset_title": "the title of the publication or deposit",
    "technology": f"one of {', '.join(TECHNOLOGIES.values())}; nothing in the names tells",
    "species": f"one of {_words_allowed('species')}",
    "organ": f"the organ, one of {_words_allowed('organ')}; what is finer is the tissue",
    "disease_state": f"one of {_words_allowed('disease_state')}; blank if not known",
    "oncotree_code": "the cancer's code in resources/vocabulary/oncotree.csv (IDC, COAD …); blank if not known",
    "preservation": f"how the tissue was kept, one of {_words_allowed('preservation')}; blank if not stated",
    "licence": f"the licence of the data, one of {_words_allowed('licence')}",
    "study_link": "address of the publication (https://doi.org/…); blank if there is none",
}
PAGES = {
    "geo": "https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc={}",
    "zenodo": "https://zenodo.org/records/{}",
    "figshare": "https://figshare.com/articles/dataset/_/{}",
    "dryad": "https://doi.org/{}",
    "mendeley": "https://data.mendeley.com/datasets/{}",
    "biostudies": "https://www.ebi.ac.uk/biostudies/studies/{}",
    "synapse": "https://www.synapse.org/Synapse:{}",
    "hca": "https://explore.data.humancellatlas.org/projects/{}",
    "huggingface": "https://huggingface.co/datasets/{}",
    "github": "https://github.com/{}",
}
LOOK_AT = {
    "tenx": "its page below https://www.10xgenomics.com/datasets",
    "file": "the notes of whoever made the folder",
}
ANYTHING = ("file", "https")  # any text is one of theirs
# Addresses and DOIs of deposits, and the accession in them.
ADDRESSES = (
    ("geo", r"\b(GS[EM]\d+)\b", "{0}"),
    ("zenodo", r"10\.5281/zenodo\.(\d+)|zenodo\.org/(?:api/)?records?/(\d+)", "{0}"),
    (
        "figshare",
        r"10\.6084/m9\.figshare\.(\d+)(?:\.v(\d+))?|figshare\.com/articles/(?:[^/]+/){0,2}(\d+)(?:/(\d+))?",
        "{0}/versions/{1}",
    ),
    (
        "mendeley",
        r"10\.17632/([a-z0-9]{8,12})(?:\.(\d+))?|data\.mendeley\.com/datasets/([a-z0-9]{8,12})(?:/(\d+))?",
        "{0}/{1}",
    ),
    ("dryad", r"(10\.\d{4,9}/dryad\.[\w.]*\w)", "{0}"),
    ("biostudies", r"\b(S-[A-Z]+\d+|E-[A-Z]{4}-\d+)\b", "{0}"),
    ("synapse", r"\b(syn\d{5,})\b", "{0}"),
    ("hca", r"humancellatlas\.org/(?:explore/)?projects/([0-9a-f-]{36})", "{0}"),
    ("tenx", r"/samples/((?:spatial-exp|xenium)/\d+\.\d+\.\d+/[\w.-]+)", "{0}"),
    ("huggingface", r"huggingface\.co/datasets/([\w.-]+/[\w.-]+)(?:/(?:tree|blob)/([\w.-]+))?", "{0}@{1}"),
    ("github", r"github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?(?:/(?:tree|blob)/([0-9a-f]{40}))?(?:/|$)", "{0}@{1}"),
)
# Words of names and titles beside the spellings of the vocabularies; states are told by these alone, as the spellings
# ("control", "treatment") say too little of a title.
SPECIES = {
    "Homo sapiens": r"\b(human|homo sapiens|patients?)\b",
    "Mus musculus": r"\b(mouse|mice|murine|mus musculus)\b",
}
ORGANS = {
    "Bladder": r"\b(bladder|urothelial)\b",
    "Bone": r"\bbone\b",
    "Bowel": r"\b(bowel|colon|colorectal|rect(al|um)|ileum|intestin\w+)\b",
    "Brain": r"\b(brain|cort(ex|ical)|hippocamp\w+|cerebell\w+|olfactory bulb|glioblastoma|glioma)\b",
    "Breast": r"\b(breast|mammary)\b",
    "Cervix": r"\b(cervix|cervical)\b",
    "Embryo": r"\bembryo\w*\b",
    "Eye": r"\b(eye|retina\w*)\b",
    "Heart": r"\b(heart|cardiac|myocardi\w+)\b",
    "Kidney": r"\b(kidney|renal)\b",
    "Liver": r"\b(liver|hepat\w+)\b",
    "Lung": r"\b(lung|pulmonary)\b",
    "Lymph node": r"\blymph nodes?\b",
    "Ovary": r"\bovar(y|ian)\b",
    "Pancreas": r"\bpancrea(s|tic)\b",
    "Placenta": r"\bplacenta\w*\b",
    "Prostate": r"\bprostat(e|ic)\b",
    "Skin": r"\b(skin|cutaneous)\b",
    "Spinal cord": r"\bspinal cord\b",
    "Uterus": r"\b(uterus|uterine|endometri\w+)\b",
}
STATES = {
    "cancer": r"\b(cancer\w*|\w*carcinomas?|melanomas?|glioblastomas?|lymphomas?|leuka?emias?|sarcomas?)\b",
    "healthy": r"\b(healthy|normal|non ?diseased)\b",
}
PRESERVATIONS = {"ffpe": r"\b(ffpe|formalin fixed)\b", "fresh_frozen": r"\b(fresh ?frozen|ff)\b", "pfa": r"\bpfa\b"}
TOO_LITTLE = {"ff", "frozen", "sigma"}  # spellings that say something else in a name as often
DONOR = re.compile(r"(?<![a-z0-9])(?:patient|donor|subject|pt|p)[ _.-]?0*(\d+)(?![0-9])", re.IGNORECASE)
LICENCE = re.compile(r"cc[ -]?(0|by(?:[ -](?:nc|nd|sa))*)[ -]?(\d\.\d)?", re.IGNORECASE)

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
    r"(\.(gz|tar|tgz|zip|h5ad|h5|mtx|csv|tsv|txt|json|geojson|parquet|xenium|html|cloupe|ome|tiff?|btf|ndpi|svs|mrxs|scn"
    r"|czi|nd2|jpe?g|png|rds|rdata|fastq|bam|pdf|md|xlsx?|docx?|yaml|loom))+$",
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


@dataclass
class Draft:
    """Rows of a cohort table (column -> cell).

    Attributes
    ----------
    questions
        (index of a row, column) -> what to find out, where to look.
    suggested
        (column, value, where it comes from) -> number of rows.
    remarks
        What else a person should know, one line each.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    questions: dict[tuple[int, str], str] = field(default_factory=dict)
    suggested: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    remarks: list[str] = field(default_factory=list)


def read_patterns(table: Path) -> dict[str, str]:
    """Source -> pattern of its accessions (resources/sources.csv)."""
    with open(table, newline="", encoding="utf-8-sig") as handle:
        return {row["source"]: row["accession_pattern"] for row in csv.DictReader(handle)}


def detect_source(text: str, patterns: Mapping[str, str]) -> tuple[str, str]:
    """The source of an accession, a DOI, an address or a folder, and the accession as that source writes it.

    Raises
    ------
    Refusal
        It looks like none, or like several; the reason says how to write it.
    """
    text = text.strip()
    if len(text) > LONGEST_ASKED:
        raise Refusal(f"{text[:SHOWN_CHARACTERS]}…: {len(text):,} characters are no accession, address or folder")
    if os.path.isdir(os.path.expanduser(text)):  # noqa: PTH111, PTH112 (any text is asked, and no text is an error)
        return "file", text
    if re.match("https?://|(https?://)?(dx\\.)?doi\\.org/|10\\.\\d{4,9}/", text, re.IGNORECASE):
        return _from_address(text)
    fitting = [name for name, pattern in patterns.items() if name not in ANYTHING and re.fullmatch(pattern, text)]
    # A dataset of the hub and its files at a commit look alike; the longer form is the repository's.
    fitting = [name for name in fitting if name != "huggingface"] or fitting
    if len(fitting) == 1:
        return fitting[0], text
    if fitting:
        raise Refusal(f"{text}: could be of {' or '.join(sorted(fitting))}; say which with --source")
    raise Refusal(
        f"{text}: neither a folder that is here nor an accession of"
        f" {', '.join(sorted(set(patterns) - set(ANYTHING)))};"
        " resources/sources.csv has an example of each"
    )


def _from_address(text: str) -> tuple[str, str]:
    for source, pattern, form in ADDRESSES:
        match = re.search(pattern, text, re.IGNORECASE)
        if not match:
            continue
        parts = [part for part in match.groups() if part]
        if len(parts) == form.count("{"):
            return source, form.format(*parts)
        if source == "mendeley":
            raise Refusal(f"{text}: add the version of the dataset, as in 10.17632/svw96g68dv.5")
        if source == "github":
            raise Refusal(f"{text}: add the commit, as in https://github.com/owner/name/tree/<40 hexadecimal digits>")
        return source, parts[0]
    if "10xgenomics.com" in text:
        raise Refusal(
            f"{text}: pages of 10x Genomics are closed to programs; give the address of one of the sample's files"
            " (https://cf.10xgenomics.com/samples/…), or spatial-exp/<version>/<sample>"
        )
    raise Refusal(f"{text}: not the address of a deposit that can be listed; resources/sources.csv says which can")


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
        if _has_counts(found) or (of_geo and recognise(found).reader):
            strong.append(key)
        elif any(layouts.is_archive(name) and not NO_SAMPLE.search(name) for name in found):
            archived.append(key)
    told = [key for key in archived if recognise(clusters[key]).reader]
    if strong or told:
        return sorted({*strong, *told})
    return sorted(archived)


def _has_counts(names: Sequence[str]) -> bool:
    """Whether names have counts; a table that only might be counts needs company."""
    for reader in ROLES:
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


def draft(listing: Listing, source: str, stem: str) -> Draft:
    """Draft the rows of an accession's samples.

    Parameters
    ----------
    listing
        What the source says the accession holds.
    source
        Its name.
    stem
        Name of the cohort; it starts the samples' ids.

    Raises
    ------
    Refusal
        Nothing in the listing looks like a sample.
    """
    grouping = group_files(file.name for file in listing.files)
    if not grouping.groups:
        names = [file.name for file in listing.files]
        by_hand = any(name.lower().endswith((".7z", ".rar")) for name in names)
        advice = "; unpack the 7z or rar archives by hand and give the folder" if by_hand else ""
        raise Refusal(
            f"{listing.accession}: {len(names)} files, none of which looks like counts or an archive that can be opened"
            f" ({', '.join(names[:SHOWN])}){advice}",
            measured=0,
            threshold=1,
        )
    result = Draft()
    readers = {group.label: recognise(group.names).reader for group in grouping.groups}
    by_title = recognise([f"{listing.title or ''} "]).reader
    is_mixed = any(readers.values())
    for group in grouping.groups:
        reader = readers[group.label] or (None if is_mixed else by_title)
        if reader is None and is_mixed and not any(layouts.is_archive(name) for name in group.names):
            result.remarks.append(
                f"{group.label}: left out, nothing in its files says where in a tissue ({_shown(group.names)})"
            )
            continue
        _Row(result, listing, source, stem, grouping, group, reader).add()
    shared = [name for name in grouping.shared if not name.upper().endswith("_RAW.TAR")]
    if shared:
        result.remarks.append(f"of no single sample: {_shown(shared)}")
    return result


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


class _Row:
    """One row on its way."""

    def __init__(
        self,
        result: Draft,
        listing: Listing,
        source: str,
        stem: str,
        grouping: Grouping,
        group: Group,
        reader: str | None,
    ) -> None:
        self.draft, self.listing, self.source, self.stem = result, listing, source, stem
        self.grouping, self.group, self.reader = grouping, group, reader
        self.cells = dict.fromkeys(COLUMNS, "")
        self.index = len(result.rows)
        sample = SAMPLE_OF_GEO.search(group.names[0])
        self.gsm = sample[1] if sample and source == "geo" else None
        at = "/tree/" if source in ("github", "huggingface") else "@"
        self.page = PAGES.get(source, "").format(listing.accession.partition("/versions")[0].replace("@", at))

    def add(self) -> None:
        """Fill the row and append it to the draft."""
        self.draft.rows.append(self.cells)
        label = self.group.label
        if self.gsm:
            label = label.removeprefix(self.gsm).strip("_.-/ ")
        if self.source == "tenx":
            label = self.listing.accession.rpartition("/")[2]
        self.cells.update(
            sample_id=self._sample_id(),
            subseries=label,
            source=self.source,
            accession=self.gsm or self.listing.accession,
            download_page=self.page,
            url_confidence="known",
        )
        self._set("dataset_title", self.listing.title, "the deposit")
        self._set("technology", TECHNOLOGIES.get(self.reader or ""), "the names of the files")
        self._set("licence", *self._licence())
        self._describe(label)
        self._find_files()

    def _sample_id(self) -> str:
        is_only = len(self.grouping.groups) == 1
        text = self.gsm or "-".join(part for part in (self.stem, "" if is_only else self.group.label) if part)
        name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
        taken = {row["sample_id"] for row in self.draft.rows}
        return next(one for one in (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))) if one not in taken)

    def _set(self, column: str, value: str | None, where: str = "") -> None:
        """Write what is known, and note where it comes from; without a value, ask for it."""
        if value:
            self.cells[column] = value
            self.draft.suggested[column, value, where] += 1
        else:
            self._ask(column, QUESTIONS[column])

    def _ask(self, column: str, what: str) -> None:
        look = self.page or LOOK_AT.get(self.source, "the publication")
        self.cells[column] = UNKNOWN
        self.draft.questions[self.index, column] = f"{what}; look at {look}"

    def _licence(self) -> tuple[str | None, str]:
        match = LICENCE.search(self.listing.licence or "")
        if match:
            kind = "CC0" if match[1] == "0" else f"CC-{match[1].upper().replace(' ', '-')}"
            version = match[2] or ("1.0" if kind == "CC0" else None)
            return (f"{kind}-{version}", "the deposit") if version else (None, "")
        if self.source == "geo":
            return "unspecified", "GEO, which states none; the paper may"
        return None, ""

    def _describe(self, label: str) -> None:
        """What the sample's own names say, or else the title; names that say two things say nothing."""
        own, title = _words(f"{label} {self.listing.accession}"), _words(self.listing.title or "")
        for column in ("species", "organ", "disease_state", "preservation"):
            value, where = _said(((own, "the sample's name"), (title, "the title")), _spellings(column))
            self._set(column, value, where)
        if self.cells["disease_state"] == "cancer":
            self._ask("oncotree_code", QUESTIONS["oncotree_code"])
        donor = DONOR.search(label) or DONOR.search(self.group.names[0])
        if donor and donor[0][1:].isdigit() and self.cells["species"] == "Mus musculus":
            donor = None  # P7 is an age here
        number = f"{self.stem}-P{donor[1]}" if donor else None
        self._set("donor", number, "patient numbers in names")
        self._ask("study_link", QUESTIONS["study_link"])

    def _find_files(self) -> None:
        """How the fetch finds the files: by the accession, a pattern, or one by one; what it cannot find is asked."""
        packed = [name for name in self.group.names if layouts.is_archive(name)]
        if len(packed) > 1 and len(packed) == len(self.group.names) and len(self.grouping.groups) == 1:
            self.draft.remarks.append(
                f"{len(packed)} archives and nothing else ({_shown(packed)}): look into them; if each holds a part of"
                " many samples, write a row for each, its cells as <archive>!<member>"
            )
        if self.reader is None:
            self._narrow(None)
            return
        found = assign(self.group.names, self.reader)
        self._narrow(found)
        for role, names in found.ambiguous.items():
            if role not in set(ROLES[self.reader].optional) - {*ROLES[self.reader].either, *ROLES[self.reader].wanted}:
                self._ask(role, f"which of {len(names)} files it is: {', '.join(names)}")
        if not found.archives:
            for role in found.missing:
                self._ask_for_file(role)

    def _ask_for_file(self, role: str) -> None:
        joint = [name for name in self.grouping.shared if re.search(r"\.(h5ad|h5|mtx)(\.gz)?$", name)]
        if role == "counts" and len(joint) == 1:
            self._set("counts", f"{self.source}:{self.listing.accession}/{joint[0]}", "the one matrix of the series")
            self._ask("member", "what the names of this sample's spots have in the joint matrix (A1, -3, column=value)")
            return
        reduced = [name for name in self.group.names if "hires" in name]
        if role == "image" and reduced:
            what = f"only a reduced picture is there ({reduced[0]}); ask the authors for the full-resolution H&E"
        else:
            what = f"no file looks like its {role}; name it, or delete the row"
        self._ask(role, what)

    def _narrow(self, found: Assignment | None) -> None:
        """Tell this sample's files from those of the others."""
        names = [file.name for file in self.listing.files]
        if len(self.grouping.groups) == 1 or (self.gsm and all(f"{self.gsm}" in name for name in self.group.names)):
            return
        packed = () if _has_counts(self.group.names) else tuple(filter(layouts.is_archive, self.group.names))
        archives = found.archives if found else packed
        if archives:
            self._name_each(found, archives)
            return
        pattern = _pattern(self.group, self.grouping, names, self.reader)
        if pattern:
            self.cells["files"] = pattern
        else:
            self._ask("files", f"a pattern of its {len(self.group.names)} files ({_shown(self.group.names)})")

    def _name_each(self, found: Assignment | None, archives: Sequence[str]) -> None:
        """Files one by one: a pattern would also be held against the names inside an archive."""
        spatial = [name for name in archives if re.search(r"spatial\.(tar|tar\.gz|tgz|zip)$", name.lower())]
        others = [name for name in archives if name not in spatial]
        named = dict(found.roles) if found else {}
        named |= {column: one[0] for column, one in (("spatial", spatial), ("bundle", others)) if one}
        for column, name in named.items():
            if re.search(r"\s", name):
                self._ask(column, f"its name has blanks ({name}), which a cell cannot hold; fetch it and use a folder")
            else:
                self.cells[column] = name
        if self.reader:
            self._ask_for_strays(self.reader, named)

    def _ask_for_strays(self, reader: str, named: Mapping[str, str]) -> None:
        """Without a pattern the whole listing is looked through, and a blank role may find another sample's file."""
        seen = assign((file.name for file in self.listing.files), reader)
        own = {*self.group.names, *self.grouping.shared}
        for role, name in seen.roles.items():
            if role not in named and name not in own and role not in ("hires_image", "morphology"):
                self._ask(role, f"{name} of another sample would be taken; fetch this sample's files and use a folder")


def _words(text: str) -> str:
    """Words in lower case, blanks between; `hPancreas` and `mFemur` are taken apart."""
    text = re.sub(r"(?<![A-Za-z])h(?=[A-Z][a-z])", "human ", text)
    text = re.sub(r"(?<![A-Za-z])m(?=[A-Z][a-z])", "mouse ", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return " ".join(re.split(r"[^A-Za-z0-9]+", text)).lower()


@functools.cache
def _spellings(column: str) -> tuple[tuple[str, str], ...]:
    """Pattern and value of what names may say: phrases of the vocabulary, our own words, the vocabulary's words."""
    own = {"species": SPECIES, "organ": ORGANS, "disease_state": STATES, "preservation": PRESERVATIONS}[column]
    spelled: dict[str, str] = {}
    if column != "disease_state":
        for term in vocabulary.load(vocabulary.VOCABULARIES[column]).terms:
            for text in (term.name, *term.listed("synonyms")):
                words = _words(text).strip()
                if words not in TOO_LITTLE:
                    spelled[words] = term.cells.get("organ") or term.name
    longest = sorted(spelled, key=lambda words: (-len(words), words))
    told = [(rf"\b{words}\b", spelled[words]) for words in longest]
    phrases = [one for one, words in zip(told, longest, strict=True) if " " in words]
    return (*phrases, *((pattern, value) for value, pattern in own.items()), *told)


def _said(texts: Iterable[tuple[str, str]], spellings: Sequence[tuple[str, str]]) -> tuple[str | None, str]:
    """The one value that the first telling text names, and which text that is; a word tells once."""
    for text, where in texts:
        found, left = set(), text.replace("guinea pig", " ")  # none of the species there are
        for pattern, value in spellings:
            left, times = re.subn(pattern, " ", left)
            if times:
                found.add(value)
        if found:
            return (found.pop() if len(found) == 1 else None), where
    return None, ""


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return next((first[:i] for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), first)


def _pattern(group: Group, grouping: Grouping, names: Sequence[str], reader: str | None) -> str | None:
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


def write(result: Draft, path: Path, *, force: bool = False) -> None:
    """Write a draft as a cohort table; columns without a cell are left out.

    Raises
    ------
    FileExistsError
        The table is there and `force` is not given.
    """
    if path.exists() and not force:
        raise FileExistsError(f"{path} is there already; name another with --out, or overwrite it with --force")
    used = {column for row in result.rows for column, cell in row.items() if cell}
    extra = sorted(used - set(COLUMNS))
    columns = [column for column in (*COLUMNS[:-2], *extra, *COLUMNS[-2:]) if column in used]
    with atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({column: row.get(column, "") for column in columns} for row in result.rows)


def open_questions(result: Draft, path: Path) -> list[str]:
    """`file:row:column: what to find out; where to look` for each `?`; rows that ask the same share a line (`2-5`)."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (index, column), what in sorted(result.questions.items()):
        rows[column, what].append(index + 2)  # the header is row 1
    order = {column: i for i, column in enumerate(COLUMNS)}
    asked = sorted(rows.items(), key=lambda one: (one[1][0], order.get(one[0][0], len(order)), one[0]))
    return [f"{path}:{_ranges(numbers)}:{column}: {what}" for (column, what), numbers in asked]


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, runs as `2-5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def faults(path: Path, root: Path, result: Draft) -> list[str]:
    """What the workflow would say of the table, less what is asked for already.

    Parameters
    ----------
    path
        The table.
    root
        The project's folder, with the configuration and the schemas.
    """
    config: dict[str, Any] = yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8"))
    config.update(cohorts=[str(path)], tasks=[], recipes=[], select="", allow_licences=[])
    for key in [name for name in config if name.endswith("_table")]:
        config[key] = str(root / config[key])
    try:
        tables.load(config, root)
    except TableFaults as found:
        asked = tuple(f"{path}:{index + 2}:{column}:" for index, column in result.questions)
        return [fault for fault in found.faults if not fault.startswith(asked or ("\0",))]
    return []


def cohort_name(source: str, accession: str) -> str:
    """A name for the cohort of an accession, fit for a file."""
    if source in ("geo", "biostudies", "synapse"):
        text = accession
    elif source in ("tenx", "file"):
        text = accession.rstrip("/").rpartition("/")[2]
    elif source in ("github", "huggingface"):
        text = accession.partition("@")[0].rpartition("/")[2]
    else:
        text = f"{source}-{accession}"
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or source
