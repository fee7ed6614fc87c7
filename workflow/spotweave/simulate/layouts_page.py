"""The page docs/layouts.md: every layout of raw files that is simulated and read to the same counts."""

from __future__ import annotations

from spotweave.simulate import st_v1_layouts, visium_hd, visium_layouts, xenium_layouts

REAL = """
## What goes for all of them
- **Genes** are what is called gene expression, every biotype (`protein_coding`, `lncRNA`, …) and what has no type (an
  outer join leaves NaN). Antibodies, guides, controls and types of which nothing is known beside genes are left out;
  the record counts them by type (`features_left_out`).
- **Sums are no genes and no spots**: `Total`, `Sum`, HTSeq's `__no_feature`, STAR's `N_unmapped`, featureCounts'
  `Unassigned_…`, measures of spots such as `nCount_RNA`, by their name in any case, and any row or column that equals
  the sum of all others. They are left out and named (`summary_genes_left_out`, `summary_units_left_out`). What has an
  Ensembl id is a gene, whatever its name.
- **Refused in one line**: a table without its header (genes called 0, 1, 2), Entrez ids alone, rows and columns
  exchanged, a column of row numbers or of words among the counts.
- **Text** may be separated by commas, tabs, semicolons or blanks, be UTF-8 or UTF-16, begin with `sep=;` or comments,
  and have blank rows or blank columns behind the last. Spots off the tissue without numbers (`NA`) are left out and
  counted (`positions_without_numbers`); in tissue they refuse the table.
- **Optional files never refuse a sample**: scale factors are read as numbers, as text or as R's lists of one; what
  cannot be read of them, of a map of barcodes or of an alignment beside positions is passed over and named
  (`optional_files_passed_over`). Scale factors that contradict the positions of Visium HD do refuse it: then the files
  are of two samples.
- **Names of files**: an exact one beats a longer one beside it (`tissue_positions_list.csv`,
  `tissue_positions_list_log_UMI.csv`). Names of two samples stay ambiguous, and are refused with both.

## Real layouts
Read in the tests where the files are at hand: a Space Ranger 1 `outs` folder with Market Exchange counts (mouse brain,
posterior), an HDF5 matrix beside positions without a header (mouse brain, anterior) and its dense table with 16,440
genes, positions called `.txt` (four DLPFC sections), the files of a `square_002um` folder of Visium HD, transcripts and
nucleus outlines of a Xenium run and the cells of another, count and selection tables of HER2+ sections and of the
olfactory bulb.
"""


def registries() -> dict[str, dict[str, str]]:
    """Technology -> name of a layout -> what it is."""
    return {
        title: {name: variant.description for name, variant in module.VARIANTS.items()}
        for title, module in (
            ("Spatial Transcriptomics", st_v1_layouts),
            ("Visium", visium_layouts),
            ("Visium HD", visium_hd),
            ("Xenium", xenium_layouts),
        )
    }


def describe() -> str:
    """The page as Markdown."""
    known = registries()
    lines = [
        "# Raw layouts",
        "",
        "Each of these is written by the project's own simulator from one known sample and read back to the same",
        "counts, names and places, exactly. Joins are by key: rows may be shuffled, missing or too many, and are",
        "counted.",
        "This page is written by `scripts/describe_layouts.py`.",
    ]
    for technology, variants in known.items():
        lines += ["", f"## {technology} ({len(variants)})", "", "| layout | |", "|---|---|"]
        lines += [f"| `{name}` | {description} |" for name, description in variants.items()]
    return "\n".join(lines) + "\n" + REAL
