"""Bring one sample's counts, spots and tissue together in the released layout, with its pictures."""

from _stage import Stage

PICTURE_PX = 1000
VENDOR = ["vendor_pxl_col_in_fullres", "vendor_pxl_row_in_fullres"]

stage = Stage(
    "assemble_sample",
    __doc__,
    inputs=["expression", "alignment", "slide", "tissue"],
    outputs=["st", "spatial_plot", "pixel_size_plot"],
)
stage.option("--sample", required=True)
stage.option("--spots-min", type=int, required=True, help="fewer in-tissue spots with counts are refused")


def work(args):
    import anndata
    import numpy as np

    from spotweave import geometry
    from spotweave.dataset.spots import release_spots, slide_positions, write
    from spotweave.errors import Refusal
    from spotweave.io import read_json
    from spotweave.pictures.reduced import read_reduced
    from spotweave.report import plots
    from spotweave.tissue.agreement import tissue_fraction
    from spotweave.tissue.polygons import read_geojson

    alignment = read_json(args.alignment)
    diameter_px = alignment["spot_diameter_um"] / alignment["pixel_size_um"]
    longest_px = max(alignment["image_width_px"], alignment["image_height_px"])
    picture, _ = read_reduced(args.slide, PICTURE_PX / longest_px)
    expression = anndata.read_h5ad(args.expression)
    placed = np.isfinite(slide_positions(expression.obs, alignment)).all(axis=1)
    without_position = int((~placed).sum())
    expression = expression[placed].copy()
    fraction = tissue_fraction(
        read_geojson(args.tissue), *slide_positions(expression.obs, alignment).T, diameter_px=diameter_px
    )
    spots = release_spots(expression, alignment, fraction, picture)
    in_tissue = spots.obs["in_tissue"].to_numpy()
    counted = int((in_tissue & (spots.obs["total_counts"].to_numpy() > 0)).sum())
    if counted < args.spots_min:
        raise Refusal(
            f"only {counted} of {int(in_tissue.sum())} in-tissue spots have counts; too few to learn or score anything",
            measured=counted,
            threshold=args.spots_min,
        )
    write(args.st, spots)

    scale = picture.shape[1] / alignment["image_width_px"]
    shown = spots[in_tissue]
    plots.spatial_plot(
        args.spatial_plot,
        picture,
        scale,
        shown.obsm["spatial"],
        diameter_px,
        np.log10(1 + shown.obs["total_counts"].to_numpy()),
        f"{args.sample}: counts of {len(shown)} in-tissue spots",
        "log10(1 + counts)",
    )
    array = shown.obs[["array_col", "array_row"]].to_numpy() * np.asarray(alignment["array_pitch_um"])
    plots.pixel_size_plot(
        args.pixel_size_plot,
        picture,
        scale,
        geometry.apply(np.asarray(alignment["matrix"]), array),
        shown.obs[VENDOR].to_numpy() if VENDOR[0] in shown.obs else shown.obsm["spatial"],
        alignment,
        f"{args.sample}: {alignment['pixel_size_um']:.4f} ± {alignment['pixel_size_se_um']:.4f} um/px,"
        f" anisotropy {alignment['anisotropy']:.2%}, median residual {alignment['residual_um']:.1f} um",
    )
    return {
        "spots": spots.n_obs,
        "spots_without_position": without_position,
        "spots_in_tissue": int(in_tissue.sum()),
        "genes": spots.n_vars,
        "spot_diameter_um": alignment["spot_diameter_um"],
        "counts_per_spot_median": float(np.median(shown.obs["total_counts"])),
        "tissue_fraction_mean": round(float(shown.obs["tissue_fraction"].mean()), 4),
    }


if __name__ == "__main__":
    stage.run(work)
