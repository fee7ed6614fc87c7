rule align_array:
    input:
        manifest=rules.fetch_sample.output.manifest,
        spots=rules.read_expression.output.spots,
    output:
        alignment="<samples>/{sample}/alignment.json",
        record="<samples>/{sample}/records/align_array.json",
    log:
        "<logs>/align_array/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime="30m",
    params:
        array=array_options,
        limits=as_json(
            {
                name: LIMITS[name]
                for name in (
                    "pixel_size_max_um",
                    "pixel_size_min_um",
                    "residual_max_um",
                    "anisotropy_max",
                    "spots_outside_max",
                )
            }
        ),
        code=code("align_array"),
    shell:
        "python scripts/align_array.py --manifest {input.manifest} --spots {input.spots}"
        " {params.array} --limits {params.limits:q}"
        " --alignment {output.alignment} --record {output.record} --code {params.code} > {log} 2>&1"
