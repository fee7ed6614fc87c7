"""Read one sample's raw files into raw counts with array coordinates, and the table of all its spots."""

from __future__ import annotations

import argparse
from typing import Any

from _stage import Stage

stage = Stage("read_expression", __doc__, inputs=["manifest"], outputs=["expression", "spots"])
stage.option("--sample", required=True, help="sample id, the one in the manifest")
stage.option("--reader", required=True, help="name of the reader (an entry of spotweave.readers), such as st_v1")
stage.option("--member", help="the section to take from raw files that hold several; default: there is only one")


def work(args: argparse.Namespace) -> dict[str, Any]:
    """Write `expression` and `spots`; the reading's report is the record's measures."""
    from spotweave import readers
    from spotweave.expression.gene_names import gene_species
    from spotweave.io import read_json

    files = readers.pick_files(read_json(args.manifest), readers.layout(args.reader).roles, args.sample)
    reading = readers.read_sample(args.reader, files, member=args.member)
    reading.write(args.expression, args.spots)
    genes = reading.adata.var
    return {"reader": args.reader, **reading.report, "gene_species": gene_species(genes.index, genes["gene_id"])}


if __name__ == "__main__":
    stage.run(work)
