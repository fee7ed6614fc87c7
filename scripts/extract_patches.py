"""Cut a patch of one physical size around every in-tissue spot."""

from _stage import Stage

stage = Stage("extract_patches", __doc__, inputs=["st", "slide", "alignment"], outputs=["patches", "patches_plot"])
stage.option("--sample", required=True)
stage.option("--size-px", type=int, required=True)
stage.option("--target-pixel-size-um", type=float, required=True)


def work(args):
    from spotweave.dataset.patches import extract

    store, size = (args.st, args.slide, args.alignment), (args.size_px, args.target_pixel_size_um)
    return extract(args.sample, store, *size, args.patches, args.patches_plot)


if __name__ == "__main__":
    stage.run(work)
