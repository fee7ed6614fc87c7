"""What the files of the first generation are called: by the ST pipeline, the ST spot detector, and their users."""

from __future__ import annotations

from spotweave.deposits.naming import BREAK, NO_SLIDE, REST, TABLE, Layout, Look, Roles, slide

LAYOUT = Layout(
    roles=Roles(needed=("counts", "image"), optional=("spots", "transform"), either=("spots", "transform")),
    looks={
        "spots": (
            Look("spots under tissue, of the spot detector", rf"spot_data-selection[^/]*{TABLE}"),
            Look("selection of spots", rf"selections?[^/]*{TABLE}"),
            Look("selection of spots, by its folder", rf"selections?[^/]*/[^/]*{TABLE}"),
            Look("all spots of the spot detector", rf"spot_data-all[^/]*{TABLE}"),
            Look("table of spots", rf"{BREAK}spots?[_-](?!per_|clust|count|type|annot|label|meta)[^/]*{TABLE}"),
            Look("alignment table", rf"alignment_table[^/]*{TABLE}"),
            Look("table in a folder of spots", rf"spots?[^/]*/[^/]*{TABLE}"),
            Look("table of coordinates", rf"{BREAK}(?<!labeled_)(?<!labelled_)coord(inate)?s?{REST}{TABLE}"),
        ),
        "transform": (Look("transformation from array to picture", rf"transform(ation)?[^/]*{TABLE}"),),
        "counts": (
            Look("counts of aligned spots", rf"stdata_aligned_counts_ids[^/]*{TABLE}"),
            Look("table of counts of the ST pipeline", rf"stdata[^/]*{TABLE}"),
            Look("count matrix", rf"count[_-]?matri(x|ces)[^/]*{TABLE}"),
            Look("table of counts", rf"{BREAK}(counts?|cnts?|expression|umis?){REST}{TABLE}"),
            Look("table in a folder of counts", rf"(counts?|cnts?|count[_-]?matri(x|ces)|expression)/[^/]*{TABLE}"),
            Look(
                "the only table that can be it",
                rf"^(?!.*{BREAK}(coord\w*|meta(data)?|annot\w*|labels?|labeled\w*|clusters?|barcodes|genes?|features"
                rf"|positions?|transform\w*|pathology){BREAK}[^/]*$).*\.(csv|tsv)$",
            ),
        ),
        "image": slide(),
    },
    signs=rf"{BREAK}stdata[^/]*{TABLE}|spot_data-(all|selection)|{BREAK}selection{TABLE}|/st-(cnts|spotfiles)/"
    rf"|{BREAK}transformation{TABLE}|count_matrix[^/]*{TABLE}|alignment_table[^/]*{TABLE}"
    rf"|(spot-?selections?|spotfiles)/",
    order=40,
    never={"image": NO_SLIDE},
)
