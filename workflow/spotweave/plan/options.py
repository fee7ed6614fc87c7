"""What the rows of the tables ask of the scripts, as options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from spotweave.expression.gene_lists import VARIABLE, list_path, read_list
from spotweave.plan.statements import stated_alignment
from spotweave.plan.tables import Tables
from spotweave.readers import READERS
from spotweave.registry import literal
from spotweave.tables.rows import Row

# Cells for people and schedulers: no result depends on them.
REMARKS = {"notes", "licence", "gated", "gpu", "seen"}


def without_remarks(row: Mapping[str, str]) -> Row:
    """A row of a table as a job sees it: rewording a remark rebuilds nothing."""
    return {name: cell for name, cell in row.items() if name not in REMARKS}


def weights_of(row: Mapping[str, str]) -> Row:
    """The cells of an encoder's row that say which weights it has."""
    return {name: row[name] for name in ("weights", "source", "revision", "sha256") if row.get(name)}


def listed_genes(row: Mapping[str, str]) -> dict[str, list[str]]:
    """The option with the names of the list of genes that a task's row names; none where it names no list."""
    path = list_path(row.get("genes", VARIABLE))
    return {} if path is None else {"listed": read_list(path)}


def labels_of(pattern: str, samples: Iterable[str]) -> dict[str, str]:
    """Sample -> file of its labels, of a path with `{sample}` in it; only files that are there, none of a blank."""
    paths = {sample: pattern.replace("{sample}", sample) for sample in samples} if pattern else {}
    return {sample: path for sample, path in paths.items() if Path(path).is_file()}


def array_options(tables: Tables, sample: str) -> str:
    """The aligner's options that the sample's row, or else its technology, gives: `--name value …`."""
    row = tables.samples[sample]
    usual = tables.technologies[row["technology"]]
    given = {
        "--spots-to-image-scale": row.get("spots_to_image_scale"),
        "--stated-pixel-size-um": row.get("pixel_size_um"),
    }
    for name in ("array_pitch_x_um", "array_pitch_y_um", "spot_diameter_um"):
        given[f"--{name.replace('_', '-')}"] = row.get(name) or usual.get(name)
    return " ".join(f"{option} {value}" for option, value in given.items() if value)


def registration_options(tables: Tables, sample: str) -> str:
    """The registration's options that the sample's row gives: `--name value …`."""
    row = tables.samples[sample]
    given = {"--alignment": stated_alignment(row), "--stated-pixel-size-um": row.get("pixel_size_um")}
    return " ".join(f"{option} {value}" for option, value in given.items() if value)


def limits_of(module: Path, limits: Mapping[str, float]) -> dict[str, float]:
    """Those of the configuration's limits that a module of the library names in its `LIMITS`; it is not imported."""
    return {name: limits[name] for name in literal(module, "LIMITS")}


def takes(library: Path, entry: str, what: str) -> bool:
    """Whether a way of placing or pooling (`placing/lattice`) names, in its `TAKES`, what a job must make first."""
    return what in literal(library / "spotweave" / f"{entry}.py", "TAKES", ())


def has_cells(tables: Tables, sample: str) -> bool:
    """Whether a sample's units are cells: those of its technology always are, or its row says so."""
    unit = READERS.constant(tables.reader_of(sample), "UNIT", "")
    return (tables.samples[sample].get("unit") or unit) == "cell"


def maps_bins(tables: Tables, sample: str) -> bool:
    """Whether a sample's deposit may say which bin lies in which cell."""
    return bool(READERS.constant(tables.reader_of(sample), "MAPS_BINS", False))


def with_donors(tables: Tables, samples: Iterable[str]) -> dict[str, list[str]]:
    """Samples and, in their order, their donors: the options of scripts that gather over donors."""
    samples = list(samples)
    return {"samples": samples, "donors": [tables.samples[sample]["donor"] for sample in samples]}


def known_identities(tables: Tables, samples: Collection[str]) -> list[Row]:
    """The rows of the table of identities that speak of these samples and of no others."""
    there = set(samples)
    return [row for row in tables.identities if there >= {row["sample_a"], row.get("sample_b", row["sample_a"])}]


def left_out_by_reason(tables: Tables) -> dict[str, list[str]]:
    """Reason -> samples that the query or the licences leave out."""
    reasons: dict[str, list[str]] = {}
    for sample, reason in tables.left_out.items():
        reasons.setdefault(reason, []).append(sample)
    return reasons
