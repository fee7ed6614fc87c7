"""A cohort table drafted from an accession: which samples it holds, and what their names and its title tell.

Nothing is guessed silently. What names or the title suggest is written and listed as such; what they do not tell is a
`?` in the table, with a line that says what to find out and where to look. A `?` is no valid value, so that a draft
cannot be built before it has been looked through.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from spotweave.deposits.naming import is_archive
from spotweave.errors import Refusal
from spotweave.intake.layouts import Assignment, assign
from spotweave.intake.recognise import recognise
from spotweave.onboard.samples import SAMPLE_OF_GEO, Group, Grouping, group_files, has_counts, pattern_of
from spotweave.onboard.table import COLUMNS, Draft
from spotweave.onboard.words import said, spellings, words_of
from spotweave.readers import layout
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
DONOR = re.compile(r"(?<![a-z0-9])(?:patient|donor|subject|pt|p)[ _.-]?0*(\d+)(?![0-9])", re.IGNORECASE)
LICENCE = re.compile(r"cc[ -]?(0|by(?:[ -](?:nc|nd|sa))*)[ -]?(\d\.\d)?", re.IGNORECASE)


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
        if reader is None and is_mixed and not any(is_archive(name) for name in group.names):
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
        own, title = words_of(f"{label} {self.listing.accession}"), words_of(self.listing.title or "")
        for column in ("species", "organ", "disease_state", "preservation"):
            value, where = said(((own, "the sample's name"), (title, "the title")), spellings(column))
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
        packed = [name for name in self.group.names if is_archive(name)]
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
        roles = layout(self.reader).roles
        for role, names in found.ambiguous.items():
            if role in (*roles.needed, *roles.either, *roles.wanted):
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
        packed = () if has_counts(self.group.names) else tuple(filter(is_archive, self.group.names))
        archives = found.archives if found else packed
        if archives:
            self._name_each(found, archives)
            return
        pattern = pattern_of(self.group, self.grouping, names, self.reader)
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
        fetched = layout(reader).roles.fetched
        own = {*self.group.names, *self.grouping.shared}
        for role, name in seen.roles.items():
            if role not in named and name not in own and role in fetched:
                self._ask(role, f"{name} of another sample would be taken; fetch this sample's files and use a folder")


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
