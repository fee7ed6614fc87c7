"""Turn the H&E picture into a tiled pyramidal TIFF with right resolution tags, and a thumbnail."""

from _stage import Stage

stage = Stage("build_pyramid", __doc__, inputs=["manifest", "alignment"], outputs=["slide", "thumbnail"])
stage.option("--tile-px", type=int, required=True)
stage.option("--jpeg-quality", type=int, required=True)


def work(args):
    from spotweave.slide.pyramid import build_sample

    files = (args.manifest, args.alignment, args.slide, args.thumbnail)
    return build_sample(*files, tile_px=args.tile_px, jpeg_quality=args.jpeg_quality)


if __name__ == "__main__":
    stage.run(work)
