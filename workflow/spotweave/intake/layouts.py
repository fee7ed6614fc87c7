"""Which file of a deposit is what, by its name alone.

A reader's layout says what its files are called (`readers.layout`); here names are held against it, whatever the
vendor. A role takes the best name there is: looks stand in the order of preference, and several names that fit one
look equally well are reported as ambiguous, never chosen from.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from spotweave import readers
from spotweave.deposits.naming import (
    ARCHIVE,
    BREAK,
    FORMATS,
    LISTS,
    MATRIX,
    NO_SLIDE_UNLESS_NAMED,
    PICTURE,
    REST,
    Late,
    Layout,
    Look,
    plain,
)

# Never looked at, whatever the reader.
NEVER = re.compile(
    r"\.(fastq|fq|bam|bai|cram|cloupe|vloupe|loupe|html?|pdf|rds|rda|rdata|robj|loom|md5|sha1|sha256|gtf|bed|r|py|ipynb"
    r"|sh|md|log|docx?|xlsx?|pptx?)$"
    r"|molecule_info|metrics_summary|raw_probe|probe_set|filelist\.txt$|tissue_spot_counts|\.zarr/"
    r"|/(analysis|aux_outputs|__macosx)/|/\."
    rf"|{BREAK}(readme|licen[cs]e|manifest|changelog|(md5|sha256|check)sums?)[^/]*$"
)
# Archives without anything a reader wants.
NO_PARCEL = re.compile(
    rf"{BREAK}(analysis|fastqs?|bam|cloupe|aux_outputs|raw_probe_bc_matrix|deconvolution){ARCHIVE}|\.zarr\.zip$"
)
LAST_RESORT = re.compile(rf"raw{MATRIX}[^/]*{ARCHIVE}|{BREAK}raw\.tar$")


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


def assign(names: Iterable[str], reader: str, *, unit: str | None = None) -> Assignment:
    """Give each role of a reader the name that fits it best.

    Parameters
    ----------
    names
        Paths with `/`, as a listing or an archive has them; their order does not matter.
    reader
        Name of a reader.
    unit
        Which bins or cells of a deposit that has several (`square_008um`, `cell`); the layout's default if None.
    """
    layout = readers.layout(reader)
    job = _Assigning(layout, unit, {name: plain(name) for name in sorted(set(names))})
    for role in job.looks:
        job.fill(role)
    for late in layout.late:
        job.add(late)
    missing = job.missing()
    archives = _archives(job.plain, layout, unit, missing)
    named = {*job.roles.values(), *archives, *(name for names in job.ambiguous.values() for name in names)}
    return Assignment(
        roles=job.roles,
        archives=archives,
        missing=missing,
        ambiguous=job.ambiguous,
        why=job.why,
        unused=tuple(name for name in job.plain if name not in named),
    )


def matches(name: str, patterns: str | None) -> bool:
    """Whether a name, or its last part, fits one of the shell patterns of a row's `files`; no patterns fit all."""
    if not patterns:
        return True
    last = name.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, one) or fnmatch.fnmatchcase(last, one) for one in patterns.split())


class _Assigning:
    """One assignment on its way; `plain` maps the names, sorted, to their plain forms."""

    def __init__(self, layout: Layout, unit: str | None, plain: Mapping[str, str]) -> None:
        units = layout.units
        self.layout = layout
        self.unit = unit or (units.default if units else None)
        self.plain = plain
        self.files = [name for name, text in plain.items() if not re.search(ARCHIVE, text) and not NEVER.search(text)]
        self.looks = {**layout.looks, **(units.looks.get(self.unit or "", {}) if units else {})}
        self.roles: dict[str, str] = {}
        self.why: dict[str, str] = {}
        self.ambiguous: dict[str, tuple[str, ...]] = {}

    def fill(self, role: str) -> None:
        """Give a role its name, or note that several are as good."""
        taken = {*self.roles.values(), *(name for names in self.ambiguous.values() for name in names)}
        never = self.layout.never.get(role)
        free = [name for name in self.files if name not in taken and not (never and re.search(never, self.plain[name]))]
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
        roles, settled = self.layout.roles, {*self.roles, *self.ambiguous}
        first = roles.either[:1] if not settled & set(roles.either) else ()
        return tuple(role for role in (*roles.needed, *first, *roles.wanted) if role not in settled)

    def add(self, late: Late) -> None:
        """Give a role that is still open the name that what the others have tells it by."""
        if late.role in {*self.roles, *self.ambiguous}:
            return
        neighbour, pattern = late.beside or ("", "")
        if late.beside and not re.search(pattern, self.plain.get(self.roles.get(neighbour, ""), "")):
            return
        if late.shares:
            free = [self.roles[late.shares]] if late.shares in self.roles else []
        else:
            free = [name for name in self.files if name not in self.roles.values()]
        found = [name for name in free if re.search(late.pattern, self.plain[name])]
        found = [name for name in found if not (late.never and re.search(late.never, self.plain[name]))]
        if len(found) == 1:
            self._take(late.role, found[0], late.words)

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
        units = self.layout.units
        if units is None or role in units.shared:
            return [names]
        own = [name for name in names if units.unit_of(self.plain[name]) == self.unit]
        common = [name for name in names if units.unit_of(self.plain[name]) is None]
        return [common, own] if role in units.outside else [own, common]

    def _best(self, names: Sequence[str], role: str) -> tuple[list[str], str]:
        """The names that fit the first look any name fits, and that look in words.

        A matrix in Market Exchange format without its two lists is only taken where there is nothing else.
        """
        incomplete: tuple[list[str], str] = ([], "")
        names = self._less_lengthened(names, role)
        for look in self.looks[role]:
            found = [name for name in names if re.search(look.pattern, self.plain[name])]
            if look.is_guess:
                found = [name for name in found if not re.search(NO_SLIDE_UNLESS_NAMED, self.plain[name])]
            found = _one_format(found, self.plain) if role == "image" else _without_repeats(found)
            found = _exact(found, look, self.plain)
            if found and self.plain[found[0]].endswith(".mtx"):
                complete = [name for name in found if len(self._partners(name)) == 2]
                incomplete = incomplete if complete or incomplete[0] else (found, f"{look.words}, alone")
                found = complete
            if found:
                return found, look.words
        return incomplete

    def _less_lengthened(self, names: Sequence[str], role: str) -> Sequence[str]:
        """The names less those that lengthen the vendor's own name, where that is beside them."""
        own = self.layout.own.get(role)
        found = {name: match for name in names if own and (match := re.search(own, self.plain[name]))}
        exact = {name: match for name, match in found.items() if not match["more"]}
        before = {self.plain[name][: match.start()] for name, match in exact.items()}
        if len(before) != 1 or not all(self.plain[name].startswith(tuple(before)) for name in found):
            return names
        return [name for name in names if name not in found or name in exact]

    def _partners(self, matrix: str) -> dict[str, str]:
        """The gene and spot lists of a matrix in Market Exchange format: same folder, same prefix, same label."""
        before, _, after = self.plain[matrix].removesuffix(".mtx").rpartition("matrix")
        partners = {}
        for role, kinds in LISTS.items():
            pattern = re.compile(rf"{re.escape(before)}({kinds}){re.escape(after)}\.(tsv|csv|txt)")
            found = _without_repeats([name for name in self.files if pattern.fullmatch(self.plain[name])])
            if len(found) == 1:
                partners[role] = found[0]
        return partners


def units_of(names: Iterable[str], reader: str) -> list[str]:
    """The bins and cells that a set of names says it has, the finest first, cells last; none for other readers."""
    units = readers.layout(reader).units
    found = {units.unit_of(plain(name)) for name in names} if units else set()
    return sorted((unit for unit in found if unit), key=lambda unit: (unit == "cell", unit))


def _exact(names: list[str], look: Look, plain: Mapping[str, str]) -> list[str]:
    """Of names of one folder that fit a look, the one that is just what the look is called, if one is.

    `tissue_positions_list.csv` is the vendor's, `tissue_positions_list_log_UMI.csv` beside it somebody's. With a prefix
    before it (`GSM1_tissue_positions_list.csv`) it is the exact one of the names with that prefix only.
    """
    if len(names) < 2 or look.is_guess:
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


def _archives(plain: Mapping[str, str], layout: Layout, unit: str | None, missing: Sequence[str]) -> tuple[str, ...]:
    """Archives that may hold what is missing, likeliest first.

    One that says nothing of its content is only listed where those that do leave something open; an archive of raw
    matrices, and a series' RAW.tar, only where there is no other.
    """
    units = layout.units
    asked = unit or (units.default if units else "")
    parcels = units.parcels.get(asked, layout.parcels) if units else layout.parcels
    names = [name for name, text in plain.items() if re.search(ARCHIVE, text) and not NO_PARCEL.search(text)]
    chosen: list[str] = []
    covered: set[str] = set()
    for parcel in parcels:
        pattern = parcel.pattern.replace("{unit}", asked)
        found = [name for name in names if name not in chosen and re.search(pattern, plain[name])]
        if found and parcel.holds & set(missing):
            chosen += found
            covered |= parcel.holds
    told = [name for name in names if any(re.search(one.pattern, plain[name]) for one in (*parcels, *layout.parcels))]
    others = [name for name in names if name not in told and name not in chosen]
    if set(missing) - covered:
        better = [name for name in others if not LAST_RESORT.search(plain[name])]
        chosen += better or ([] if chosen or _are_members(plain) else others)
    return tuple(chosen)


def _are_members(plain: Mapping[str, str]) -> bool:
    """Whether files of GEO samples are listed singly: then a series' RAW.tar holds nothing else."""
    return any(re.search(r"/gsm\d+[^/]*$", text) for text in plain.values())
