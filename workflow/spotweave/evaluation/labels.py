"""Labels that people gave to spots, read from a table and joined to spots by name."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from spotweave.deposits.delimited import numbered_lines, read_header, split_line
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal

# What stands for no label, in any case: not judged, not one tissue, left out by those who judged (STimage-1K4M).
UNLABELLED = frozenset(("", "null", "nan", "na", "undetermined", "exclude"))
LABEL = ("label", "annotation", "layer", "v2")
SAMPLE = ("sample", "sample_id", "sample_name", "slide")
SPOT = ("barcode", "spot", "spot_id", "")

Labels = dict[tuple[str, str], str]


def read_labels(path: Path, sample: str = "") -> Labels:
    """Read labels: (sample, spot) -> label, blank where there is none that tells.

    A table, separated by tabs or commas, with a column `label` (or `annotation`, `layer`, `V2`); of spots by `barcode`
    (or `spot`, `spot_id`, or an index without a name), or by `x` and `y`, places of the array, which are rounded to the
    name `9x21`; and of their `sample` (or `sample_id`, `sample_name`, `slide`), where it is of several. Or three
    columns without names: spot, sample, label.

    Parameters
    ----------
    sample
        Whose spots they are; blank where the table says so itself. Where neither does, it is blank in the result, and
        spots are named `<sample>_<spot>`.

    Raises
    ------
    Refusal
        With the file and the row: columns that are missing, no rows, or two labels for one spot.
    """
    raw = RawFile(path.name, path)
    with numbered_lines(raw) as whole:
        header, delimiter, lines = read_header(raw, whole)
        names = [name.lower() for name in header]
        label = _column(names, LABEL)
        if label is None and len(header) == 3:
            found = _Found(raw.name, sample)
            found.add(1, header[1], header[0], header[2])
            for number, line in lines:
                spot, of, said = _fields(raw, number, split_line(raw, number, line, delimiter), 3)
                found.add(number, of, spot, said)
            return found.any()
        place = _column(names, ("x",)), _column(names, ("y",))
        spot_column = _column(names, SPOT)
        if label is None or (spot_column is None and None in place):
            raise Refusal(
                f"{raw.name}: columns {', '.join(repr(name) for name in header[:10])}; one called label (or "
                f"{', '.join(LABEL[1:])}) is needed, and one called barcode (or spot, spot_id), or x and y"
            )
        sample_column = _column(names, SAMPLE)
        found = _Found(raw.name, sample)
        for number, line in lines:
            fields = _fields(raw, number, split_line(raw, number, line, delimiter), len(header))
            of = fields[sample_column] if sample_column is not None else ""
            spot = fields[spot_column] if spot_column is not None else _place(raw, number, fields, place)
            found.add(number, of, spot, fields[label])
        return found.any()


class _Found:
    def __init__(self, name: str, sample: str) -> None:
        self.name, self.sample = name, sample
        self.labels: Labels = {}

    def add(self, number: int, sample: str, spot: str, label: str) -> None:
        if self.sample and sample not in ("", self.sample):
            return  # of another sample than the one that is asked for
        told = "" if label.strip().lower() in UNLABELLED else label.strip()
        key = (sample or self.sample, spot)
        if self.labels.setdefault(key, told) != told:
            raise Refusal(f"{self.name}: row {number}: spot {spot} has another label in a row above; keep one of them")

    def any(self) -> Labels:
        if not self.labels:
            raise Refusal(f"{self.name}: no row is of a spot{f' of {self.sample}' if self.sample else ''}")
        return self.labels


def _column(names: list[str], known: Iterable[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _fields(raw: RawFile, number: int, fields: list[str], width: int) -> list[str]:
    if len(fields) != width:
        raise Refusal(
            f"{raw.name}: row {number} has {len(fields)} fields where {width} are expected; download it again"
        )
    return fields


def _place(raw: RawFile, number: int, fields: list[str], columns: tuple[int | None, int | None]) -> str:
    try:
        return "x".join(str(round(float(fields[column]))) for column in columns if column is not None)
    except (ValueError, OverflowError) as error:
        raise Refusal(f"{raw.name}: row {number}: x and y are no places of the array ({error})") from error


def join_labels(
    spots: Mapping[str, Iterable[str]], labels: Labels, names: Mapping[str, str], *, needed: bool = True
) -> dict[str, list[str]]:
    """Labels of the spots of each sample, in their order, blank where there is none.

    Parameters
    ----------
    spots
        Sample -> its spots.
    labels
        As `read_labels` gives them.
    names
        Another name of a sample, by which a table may know it, -> sample.
    needed
        Whether labels that are all of other spots are a fault.

    Raises
    ------
    Refusal
        They are.
    """
    known = {(names.get(sample, sample), spot): label for (sample, spot), label in labels.items()}
    joined: dict[str, list[str]] = {}
    met = 0
    for sample, listed in spots.items():
        joined[sample] = []
        for spot in listed:
            whole = f"{sample}_{spot}"
            found = known.get((sample, spot), known.get((sample, whole), known.get(("", whole))))
            met += found is not None
            joined[sample].append(found or "")
    if needed and labels and not met:
        given = " of ".join(reversed(next(iter(labels)))).removesuffix(" of ")
        asked = next((f"{spot} of {sample}" for sample, listed in spots.items() for spot in listed), "no spot")
        raise Refusal(f"no label is of a spot that is here: the labels have {given}, the samples {asked}")
    return joined


def labels_of(given: Sequence[str], spots: Mapping[str, list[str]], names: Mapping[str, str]) -> dict[str, list[str]]:
    """Labels of all tables, each `sample=file` or `file`, joined as `join_labels` does; empty without any."""
    labels: Labels = {}
    for text in given:
        sample, equals, path = text.partition("=")
        # A path may hold `=` itself.
        whole = not equals or Path(text).is_file()
        labels |= read_labels(Path(text) if whole else Path(path), "" if whole else sample)
    return join_labels(spots, labels, names) if labels else {}


def read_slide_labels(path: Path | None) -> dict[str, str]:
    """Sample -> label of a csv with columns `sample` and `label`; empty without one."""
    if path is None:
        return {}
    with open(path, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or not {"sample", "label"} <= set(rows[0]):
        raise Refusal(f"{path}: rows with sample and label are expected")
    return {row["sample"]: row["label"] for row in rows if row["label"]}
