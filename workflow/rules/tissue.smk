rule segment_tissue:
    input:
        slide=rules.build_pyramid.output.slide,
        alignment=rules.align_array.output.alignment,
        spots=rules.read_expression.output.spots,
    output:
        tissue="<samples>/{sample}/tissue.geojson",
        overlay=picture("<samples>/{sample}/tissue.jpg", "tissue"),
        record="<samples>/{sample}/records/segment_tissue.json",
    log:
        "<logs>/segment_tissue/{sample}.log",
    benchmark:
        "<benchmarks>/segment_tissue/{sample}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        min_area_mm2=LIMITS["tissue_min_mm2"],
        code=code("segment_tissue"),
    shell:
        "python scripts/segment_tissue.py --slide {input.slide} --alignment {input.alignment}"
        " --spots {input.spots} --min-area-mm2 {params.min_area_mm2}"
        " --tissue {output.tissue} --overlay {output.overlay}"
        " --record {output.record} --code {params.code} > {log} 2>&1"
