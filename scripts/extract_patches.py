"""Cut patches of one or more physical sizes around every in-tissue spot, in one pass over the slide."""

from _stage import Stage

INPUTS = ["st", "slide", "alignment", "tissue", "marks"]

stage = Stage("extract_patches", __doc__, inputs=INPUTS, outputs=["patches+", "patches_plot"])
stage.option("--sample", required=True)
stage.option("--size-px", type=int, required=True)
stage.option("--target-pixel-size-um", type=float, required=True)
stage.option(
    "--also",
    nargs="*",
    default=[],
    help="further sizes, such as 512um_256px: one for each file of --patches after the first, in their order",
)
stage.option("--coordinates-only", action="store_true", help="write where patches lie and no pictures of them")
stage.option("--quality-flag", type=float, default=0.5, help="quality below which a patch is counted as low")


def work(args):
    from spotweave.dataset.patches import Store, extract

    first, *more = args.patches
    return extract(
        args.sample,
        Store(args.st, args.slide, args.alignment, args.tissue, args.marks),
        (args.size_px, args.target_pixel_size_um),
        first,
        args.patches_plot,
        also=dict(zip(args.also, more, strict=True)),
        pictures=not args.coordinates_only,
        flag=args.quality_flag,
    )


if __name__ == "__main__":
    stage.run(work)
