"""Bring one sample's cells and their counts onto the slide."""

from _stage import Stage

stage = Stage("assemble_cells", __doc__, inputs=["expression", "alignment", "units"], outputs=["cells"])


def work(args):
    from spotweave.dataset.cells import assemble_cells
    from spotweave.pooling import Parts

    return assemble_cells(Parts(args.expression, args.alignment, args.units), args.cells)


if __name__ == "__main__":
    stage.run(work)
