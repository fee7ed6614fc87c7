"""Find the tissue of one section on its picture and measure how well it agrees with the spots.

The spots are compared with the result; they play no part in finding it.
"""

from __future__ import annotations

import argparse
from typing import Any

from _stage import Stage

stage = Stage("segment_tissue", __doc__, inputs=["slide", "alignment", "spots"], outputs=["tissue", "overlay"])
stage.option("--min-area-mm2", type=float, required=True, help="less tissue is refused")
stage.option("--min-hole-um2", type=float, default=50_000.0, help="smaller holes are filled (default: %(default)s)")
stage.option("--simplify-um", type=float, default=4.0, help="how far outlines may be moved (default: %(default)s)")


def work(args: argparse.Namespace) -> dict[str, Any]:
    """Segment, trace, score, draw."""
    from dataclasses import replace

    import pandas as pd

    from spotweave.dataset.spots import slide_positions
    from spotweave.errors import Refusal
    from spotweave.io import read_json
    from spotweave.reduced import read_reduced
    from spotweave.tissue import agreement, classical, overview, polygons

    alignment = read_json(args.alignment)
    pixel_size_um = float(alignment["pixel_size_um"])
    settings = replace(classical.TissueSettings(), min_hole_um2=args.min_hole_um2)
    rgb, scale = read_reduced(args.slide, pixel_size_um / settings.working_pixel_size_um)
    mask = classical.segment(rgb, pixel_size_um * (scale[0] * scale[1]) ** 0.5, settings)
    outlines = polygons.from_mask(
        mask,
        scale,
        simplify_px=args.simplify_um / pixel_size_um,
        min_hole_px2=settings.min_hole_um2 / pixel_size_um**2,
        min_piece_px2=settings.min_piece_um2 / pixel_size_um**2,
    )
    area_mm2 = sum(outline.area for outline in outlines) * pixel_size_um**2 / 1e6
    if area_mm2 < args.min_area_mm2:
        raise Refusal(
            f"{args.slide.name}: {area_mm2:.3f} mm2 of tissue found, at least {args.min_area_mm2:g} mm2 needed; "
            f"check that it is the H&E picture of this section and that {pixel_size_um:.4g} um a pixel is right",
            measured=round(area_mm2, 3),
            threshold=args.min_area_mm2,
        )
    polygons.write_geojson(args.tissue, outlines, pixel_size_um)
    overview.write_overlay(args.overlay, rgb, outlines, scale)

    spots = pd.read_csv(args.spots)
    scores = agreement.against_spots(
        outlines,
        *slide_positions(spots, alignment).T,
        spots["in_tissue"].to_numpy(),
        alignment["spot_diameter_um"] / pixel_size_um,
    )
    picture_mm2 = rgb.shape[0] * rgb.shape[1] * scale[0] * scale[1] * pixel_size_um**2 / 1e6
    return {
        "tissue_area_mm2": round(area_mm2, 4),
        "tissue_share": round(area_mm2 / picture_mm2, 4),
        "pieces": len(outlines),
        "holes": sum(len(outline.interiors) for outline in outlines),
        **scores,
    }


if __name__ == "__main__":
    stage.run(work)
