rule segment_tissue:
    input:
        manifest=rules.fetch_sample.output.manifest,
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
        f"../../envs/{config['tissue']['env']}.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        limits=as_json(
            {
                name: LIMITS[name]
                for name in (
                    "tissue_min_mm2",
                    "stain_share_min",
                    "glass_share_flag",
                    "blacked_out_share_flag",
                    "spots_on_tissue_min",
                    "spots_on_tissue_flag",
                    "spots_off_tissue_min",
                    "spots_off_tissue_flag",
                )
            }
        ),
        method=config["tissue"]["method"],
        code=code(
            "segment_tissue",
            lambda wildcards: [TISSUE_METHODS.module(config["tissue"]["method"])],
        ),
    shell:
        "python scripts/segment_tissue.py --manifest {input.manifest} --alignment {input.alignment}"
        " --spots {input.spots} --limits {params.limits:q}"
        " --method {params.method} --tissue {output.tissue} --overlay {output.overlay}"
        " --record {output.record} --code {params.code} > {log} 2>&1"
