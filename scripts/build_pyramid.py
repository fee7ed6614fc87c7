"""Turn the H&E picture into a tiled pyramidal TIFF with right resolution tags, and a thumbnail."""

from _stage import Stage

# As HEST-1k released them.
THUMBNAIL_PX = 1000

stage = Stage("build_pyramid", __doc__, inputs=["manifest", "alignment"], outputs=["slide", "thumbnail"])
stage.option("--tile-px", type=int, required=True)
stage.option("--jpeg-quality", type=int, required=True)


def work(args):
    from spotweave.deposits.raw import raw_file
    from spotweave.io import read_json
    from spotweave.pictures.magnification import magnification
    from spotweave.slide import pyramid

    alignment = read_json(args.alignment)
    picture = raw_file(args.manifest, "image")
    pyramid.build_pyramid(
        picture,
        args.slide,
        pixel_size_um=alignment["pixel_size_um"],
        tile_px=args.tile_px,
        jpeg_quality=args.jpeg_quality,
    )
    pyramid.write_thumbnail(args.slide, args.thumbnail, THUMBNAIL_PX)
    return {
        "width_px": alignment["image_width_px"],
        "height_px": alignment["image_height_px"],
        "magnification": magnification(alignment["pixel_size_um"]),
        "picture_note": pyramid.read_header(picture).note,
        "slide_bytes": args.slide.stat().st_size,
    }


if __name__ == "__main__":
    stage.run(work)
