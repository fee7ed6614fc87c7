"""Files of a Xenium output bundle (Xenium Onboard Analysis 1-4, Xenium Ranger), whatever its version.

    experiment    experiment.xenium: pixel size, versions, panel
    cells         cells.parquet | cells.csv(.gz)
    transcripts   transcripts.parquet | transcripts.csv(.gz), as a stream
    boundaries    cell and nucleus polygons
    alignment     the map from the H&E to the DAPI picture
    features      what is a gene and what a control

All positions of a bundle are micrometres, x right, y down; a DAPI pixel is `pixel_size` micrometres.
"""
