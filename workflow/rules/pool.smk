rule warp_transcripts:
    input:
        manifest=rules.fetch_sample.output.manifest,
        registration=rules.register_sample.output.registration,
        field=rules.register_sample.output.field,
    output:
        transcripts="<samples>/{sample}/transcripts.parquet",
        cell_seg="<samples>/{sample}/xenium_cell_seg.parquet",
        cell_seg_geojson="<samples>/{sample}/xenium_cell_seg.geojson",
        nucleus_seg="<samples>/{sample}/xenium_nucleus_seg.parquet",
        nucleus_seg_geojson="<samples>/{sample}/xenium_nucleus_seg.geojson",
        record="<samples>/{sample}/records/warp_transcripts.json",
    log:
        "<logs>/warp_transcripts/{sample}.log",
    benchmark:
        "<benchmarks>/warp_transcripts/{sample}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(4000),
        runtime="2h",
    params:
        code=code("warp_transcripts"),
    shell:
        "python scripts/warp_transcripts.py --manifest {input.manifest}"
        " --registration {input.registration} --field {input.field} --transcripts {output.transcripts}"
        " --cell-seg {output.cell_seg} --cell-seg-geojson {output.cell_seg_geojson}"
        " --nucleus-seg {output.nucleus_seg} --nucleus-seg-geojson {output.nucleus_seg_geojson}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule pool_sample:
    input:
        expression=rules.read_expression.output.expression,
        alignment=rules.align_array.output.alignment,
        units=rules.align_array.output.units,
        transcripts=when(has_transcripts, rules.warp_transcripts.output.transcripts),
    output:
        pool=f"<samples>/{{sample}}/pools/{config['pool']['grids'][0]}.h5ad",
        other_pools=[
            f"<samples>/{{sample}}/pools/{grid}.h5ad"
            for grid in config["pool"]["grids"][1:]
        ],
        record="<samples>/{sample}/records/pool_sample.json",
    log:
        "<logs>/pool_sample/{sample}.log",
    benchmark:
        "<benchmarks>/pool_sample/{sample}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(8000),
        runtime="2h",
    params:
        pooling=lambda wildcards: technology_of(wildcards)["pooling"],
        grids=" ".join(config["pool"]["grids"]),
        min_qv=config["pool"]["min_qv"],
        code=code("pool_sample", lambda wildcards: [pooling_of(wildcards)]),
    shell:
        "python scripts/pool_sample.py --expression {input.expression}"
        " --alignment {input.alignment} --units {input.units} --transcripts {input.transcripts}"
        " --pooling {params.pooling} --grids {params.grids} --min-qv {params.min_qv}"
        " --pools {output.pool} {output.other_pools}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule assemble_cells:
    input:
        expression=rules.read_expression.output.expression,
        alignment=rules.align_array.output.alignment,
        units=rules.align_array.output.units,
    output:
        cells="<samples>/{sample}/cells.h5ad",
        record="<samples>/{sample}/records/assemble_cells.json",
    log:
        "<logs>/assemble_cells/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(8000),
        runtime="1h",
    params:
        code=code("assemble_cells"),
    shell:
        "python scripts/assemble_cells.py --expression {input.expression}"
        " --alignment {input.alignment} --units {input.units} --cells {output.cells}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule map_bins:
    input:
        manifest=rules.fetch_sample.output.manifest,
    output:
        bin_cell_map="<samples>/{sample}/bin_cell_map.parquet",
        record="<samples>/{sample}/records/map_bins.json",
    log:
        "<logs>/map_bins/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime="1h",
    params:
        code=code("map_bins"),
    shell:
        "python scripts/map_bins.py --manifest {input.manifest} --bin-cell-map {output.bin_cell_map}"
        " --record {output.record} --code {params.code} > {log} 2>&1"
