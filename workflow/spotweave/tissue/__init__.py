"""Where the tissue is: segmentation of an H&E section, its polygons, and how well they agree with the spots."""
