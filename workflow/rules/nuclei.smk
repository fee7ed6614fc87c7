rule segment_nuclei:
    input:
        slide=rules.build_pyramid.output.slide,
        tissue=rules.segment_tissue.output.tissue,
        alignment=rules.align_array.output.alignment,
    output:
        nuclei="<samples>/{sample}/nuclei/{nuclei}.parquet",
        geojson="<samples>/{sample}/nuclei/{nuclei}.geojson",
        overlay=picture("<samples>/{sample}/nuclei/{nuclei}.jpg", "nuclei"),
        record="<samples>/{sample}/records/segment_nuclei.{nuclei}.json",
    log:
        "<logs>/segment_nuclei/{sample}.{nuclei}.log",
    benchmark:
        "<benchmarks>/segment_nuclei/{sample}.{nuclei}.tsv"
    conda:
        lambda wildcards: f"../../envs/{TABLES.nuclei[wildcards.nuclei].get('env', 'core')}.yaml"
    # A network on a GPU is fed and followed by worker processes.
    threads: lambda wildcards: 8 if int(TABLES.nuclei[wildcards.nuclei]["gpu"]) else 2
    resources:
        gpu=lambda wildcards: int(TABLES.nuclei[wildcards.nuclei]["gpu"]),
        mem_mb=scaled_mem(6000),
        runtime="8h",
    params:
        given=lambda wildcards: as_json(
            {"spec": row_json(TABLES.nuclei[wildcards.nuclei])}
        ),
        seed=config["seed"],
        code=code("segment_nuclei", nuclei_code),
    shell:
        "python scripts/segment_nuclei.py --slide {input.slide} --tissue {input.tissue}"
        " --alignment {input.alignment} --given - --seed {params.seed} --threads {threads}"
        " --nuclei {output.nuclei} --geojson {output.geojson} --overlay {output.overlay}"
        " --record {output.record} --code {params.code} <<< {params.given:q} > {log} 2>&1"
