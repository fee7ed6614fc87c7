"""Write which 2 um bins are in which cell, as Space Ranger 4 found it; an empty table where nothing says so."""

from _stage import Stage

stage = Stage("map_bins", __doc__, inputs=["manifest"], outputs=["bin_cell_map"])


def work(args):
    from spotweave.visium_hd.mappings import write_map

    return write_map(args.manifest, args.bin_cell_map)


if __name__ == "__main__":
    stage.run(work)
