"""Registration of an instrument's own picture (DAPI) with the H&E of the same section, and the judge of it.

sample        one sample: from its raw files to the accepted map, its record and its pictures
pair          two pictures: candidates gathered, refined and judged, the best accepted or the pair refused
rasters       pictures and outlines as signals of nuclei on grids of known um
warping       one grid brought onto the other by a map
coarse        where to begin: all turns, both hands, a range of scales
matches       patches of one grid found again on the other
fits          maps fitted to matches: affine, and a smooth field
judge         what is measured of a candidate, alike for all
valis         VALIS as one more source of candidates
views         pictures for people
"""
