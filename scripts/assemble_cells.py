"""Write a sample's cells with their counts and their places on the slide."""

from _stage import Stage

stage = Stage("assemble_cells", __doc__, inputs=["expression", "alignment", "units"], outputs=["cells"])
stage.option("--sample", required=True)


def work(args):
    from spotweave.dataset.cells import assemble
    from spotweave.pooling import Parts

    return assemble(args.sample, Parts(args.expression, args.alignment, args.units), args.cells)


if __name__ == "__main__":
    stage.run(work)
