"""Cut a patch of one physical size around every in-tissue spot."""

from _stage import Stage

stage = Stage("extract_patches", __doc__, inputs=["st", "slide", "alignment"], outputs=["patches", "patches_plot"])
stage.option("--sample", required=True)
stage.option("--size-px", type=int, required=True)
stage.option("--target-pixel-size-um", type=float, required=True)


def work(args):
    import anndata
    from tqdm import tqdm

    from spotweave.io import read_json
    from spotweave.report.plots import contact_sheet
    from spotweave.slide import patches

    spots = anndata.read_h5ad(args.st, backed="r")
    in_tissue = spots.obs["in_tissue"].to_numpy(dtype=bool)
    grid = patches.PatchGrid(
        centres_px=spots.obsm["spatial"][in_tissue],
        size_px=args.size_px,
        target_pixel_size_um=args.target_pixel_size_um,
        slide_pixel_size_um=read_json(args.alignment)["pixel_size_um"],
    )
    pyramid = patches.Pyramid(args.slide)
    padded = grid.padded(pyramid.width_px, pyramid.height_px)
    barcodes = spots.obs_names[in_tissue].tolist()
    progress = tqdm(patches.cut(pyramid, grid), total=len(barcodes), desc="patches", disable=None)
    patches.write_patches(args.patches, progress, grid, barcodes, padded, args.sample)
    contact_sheet(args.patches, args.patches_plot)
    return {"patches": len(barcodes), "patches_padded": int(padded.sum()), "patch_size_src_px": grid.source_size_px}


if __name__ == "__main__":
    stage.run(work)
