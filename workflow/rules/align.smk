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
        pitch_x_um=technology("array_pitch_x_um"),
        pitch_y_um=technology("array_pitch_y_um"),
        spot_diameter_um=technology("spot_diameter_um"),
        scale=field("spots_to_image_scale", "1"),
        stated=option("--stated-pixel-size-um", "pixel_size_um"),
        limits=as_json(LIMITS),
        code=code("align_array"),
    shell:
        "python scripts/align_array.py --manifest {input.manifest} --spots {input.spots}"
        " --pitch-x-um {params.pitch_x_um} --pitch-y-um {params.pitch_y_um}"
        " --spot-diameter-um {params.spot_diameter_um} --spots-to-image-scale {params.scale}"
        " {params.stated} --limits {params.limits:q}"
        " --alignment {output.alignment} --record {output.record} --code {params.code} > {log} 2>&1"
