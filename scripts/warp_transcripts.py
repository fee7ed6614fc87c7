"""Bring a section's transcripts and the outlines of its cells and nuclei onto the slide."""

from _stage import Stage

stage = Stage(
    "warp_transcripts",
    __doc__,
    inputs=["manifest", "registration", "field"],
    outputs=["transcripts", "cell_seg", "cell_seg_geojson", "nucleus_seg", "nucleus_seg_geojson"],
)


def work(args):
    from spotweave.slide_map import SlideMap
    from spotweave.xenium.warping import Outputs, warp_sample

    outlines = ((args.cell_seg, args.cell_seg_geojson), (args.nucleus_seg, args.nucleus_seg_geojson))
    outputs = Outputs(args.transcripts, *outlines)
    return warp_sample(args.manifest, SlideMap.read(args.registration, args.field), outputs)


if __name__ == "__main__":
    stage.run(work)
