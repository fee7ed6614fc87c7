rule build_pyramid:
    input:
        manifest=rules.fetch_sample.output.manifest,
        alignment=rules.align_array.output.alignment,
    output:
        slide="<samples>/{sample}/slide.tif",
        thumbnail=picture("<samples>/{sample}/thumbnail.jpg", "thumbnail"),
        record="<samples>/{sample}/records/build_pyramid.json",
    log:
        "<logs>/build_pyramid/{sample}.log",
    benchmark:
        "<benchmarks>/build_pyramid/{sample}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(4000),
        runtime="2h",
    params:
        tile_px=config["slide"]["tile_px"],
        jpeg_quality=config["slide"]["jpeg_quality"],
        code=code("build_pyramid"),
    shell:
        "VIPS_CONCURRENCY={threads} python scripts/build_pyramid.py --manifest {input.manifest}"
        " --alignment {input.alignment} --tile-px {params.tile_px} --jpeg-quality {params.jpeg_quality}"
        " --slide {output.slide} --thumbnail {output.thumbnail}"
        " --record {output.record} --code {params.code} > {log} 2>&1"
