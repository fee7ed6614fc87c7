"""What Space Ranger 3 and 4 file of a Visium HD sample besides counts and positions.

names       bins and cells by their names, eleven million at a time
outlines    cells as polygons (cell_segmentations.geojson)
mappings    which bins are in which cell (barcode_mappings.parquet)
software    the version of Space Ranger, and what is known of it
"""
