"""A cohort table drafted from an accession: which samples it holds, and what their names and its title tell.

Nothing is guessed silently. What names or the title suggest is written and listed as such; what they do not tell is a
`?` in the table, with a line that says what to find out and where to look. A `?` is no valid value, so that a draft
cannot be built before it has been looked through.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from spotweave.deposits.naming import is_archive
from spotweave.errors import Refusal
from spotweave.intake.layouts import Assignment, assign
from spotweave.intake.recognise import recognise
from spotweave.onboard.accession import page_of, where_to_look
from spotweave.onboard.samples import SAMPLE_OF_GEO, Group, Grouping, group_files, has_counts, pattern_of
from spotweave.onboard.table import COLUMNS, Draft
from spotweave.onboard.words import said, spellings, words_of
from spotweave.readers import layout
from spotweave.tables import vocabulary
from spotweave.transfer.files import Listing

UNKNOWN = "?"
SHOWN = 4
TABLE = Path(__file__).resolve().parents[3] / "resources/technologies.csv"


@functools.cache
def technologies() -> dict[str, str]:
    """Reader -> the first technology that the table of technologies has for it."""
    with open(TABLE, newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.DictReader(handle))
    return {row["reader"]: row["technology"] for row in reversed(rows)}


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
    "technology": f"one of {', '.join(reversed(technologies().values()))}; nothing in the names tells",
    "species": f"one of {_words_allowed('species')}",
    "organ": f"the organ, one of {_words_allowed('organ')}; what is finer is the tissue",
    "disease_state": f"one of {_words_allowed('disease_state')}; blank if not known",
    "oncotree_code": "the cancer's code in resources/vocabulary/oncotree.csv (IDC, COAD …); blank if not known",
    "preservation": f"how the tissue was kept, one of {_words_allowed('preservation')}; blank if not stated",
    "licence": f"the licence of the data, one of {_words_allowed('licence')}",
    "study_link": "address of the publication (https://doi.org/…); blank if there is none",
}
DONOR = re.compile(r"(?<![a-z0-9])(?:patient|donor|subject|pt|p)[ _.-]?0*(\d+)(?![0-9])", re.IGNORECASE)
LICENCE = re.compile(r"cc[ -]?(0|by(?:[ -](?:nc|nd|sa))*)[ -]?(\d\.\d)?", re.IGNORECASE)


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
            download_page=page_of(self.source, self.listing.accession),
            url_confidence="known",
        )
        self._set("dataset_title", self.listing.title, "the deposit")
        self._set("technology", technologies().get(self.reader or ""), "the names of the files")
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
        look = where_to_look(self.source, self.listing.accession)
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
