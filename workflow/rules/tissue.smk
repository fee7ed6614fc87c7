rule segment_tissue:
    input:
        manifest=rules.fetch_sample.output.manifest,
        alignment=rules.align_array.output.alignment,
        units=rules.align_array.output.units,
    output:
        tissue="<samples>/{sample}/tissue.geojson",
        marks="<samples>/{sample}/tissue_marks.geojson",
        overlay=picture("<samples>/{sample}/tissue.jpg", "tissue"),
        record="<samples>/{sample}/records/segment_tissue.json",
    log:
        "<logs>/segment_tissue/{sample}.log",
    benchmark:
        "<benchmarks>/segment_tissue/{sample}.tsv"
    conda:
        f"../../envs/{config['tissue']['env']}.yaml"
    threads: 4 if config["tissue"]["gpu"] else 1
    resources:
        gpu=config["tissue"]["gpu"],
        mem_mb=scaled_mem(4000),
        runtime="4h" if config["tissue"]["weights"] != "none" else "1h",
    params:
        limits=limits_of("tissue/section"),
        given=as_json(
            {name: config["tissue"][name] for name in ("method", *NO_WEIGHTS)}
        ),
        code=code(
            "segment_tissue",
            lambda wildcards: [TISSUE_METHODS.module(config["tissue"]["method"])],
        ),
    shell:
        "python scripts/segment_tissue.py --manifest {input.manifest} --alignment {input.alignment}"
        " --units {input.units} --limits {params.limits:q} --given - --threads {threads}"
        " --tissue {output.tissue} --marks {output.marks} --overlay {output.overlay}"
        " --record {output.record} --code {params.code} <<< {params.given:q} > {log} 2>&1"
