rule segment_tissue:
    input:
        manifest=rules.fetch_sample.output.manifest,
        alignment=rules.align_array.output.alignment,
        units=rules.align_array.output.units,
    output:
        tissue="<samples>/{sample}/tissue.geojson",
        overlay=picture("<samples>/{sample}/tissue.jpg", "tissue"),
        record="<samples>/{sample}/records/segment_tissue.json",
    log:
        "<logs>/segment_tissue/{sample}.log",
    benchmark:
        "<benchmarks>/segment_tissue/{sample}.tsv"
    conda:
        f"../../envs/{config['tissue']['env']}.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        limits=limits_of("tissue/section"),
        method=config["tissue"]["method"],
        code=code(
            "segment_tissue",
            lambda wildcards: [TISSUE_METHODS.module(config["tissue"]["method"])],
        ),
    shell:
        "python scripts/segment_tissue.py --manifest {input.manifest} --alignment {input.alignment}"
        " --units {input.units} --limits {params.limits:q}"
        " --method {params.method} --tissue {output.tissue} --overlay {output.overlay}"
        " --record {output.record} --code {params.code} > {log} 2>&1"
