"""Where the nuclei are. One module here will be one way to find them; none is there yet.

A method will be a module with

    check(row) -> list[tuple[str, str]]
        What it asks of its row beyond the schema, as encoder builders do; light, as it is asked before the first job.
    segment(slide, tissue, *, pixel_size_um, weights, seed, device="auto")
        Nuclei on tissue: polygons in level-0 px with what the method says of each, in an order that does not depend on
        how the slide was cut.

Weights are a row's right: a file or the hub, held against the row's `sha256` (`spotweave.networks.weights`).
"""

from __future__ import annotations

from spotweave.registry import Registry

NUCLEI = Registry("nuclei", "nuclei method")
