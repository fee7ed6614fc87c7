rule count_nuclei:
    input:
        st=rules.assemble_sample.output.st,
        nuclei=of_first_model(rules.segment_nuclei.output.nuclei),
    output:
        counted="<samples>/{sample}/st_nuclei.h5ad",
        record="<samples>/{sample}/records/count_nuclei.json",
    log:
        "<logs>/count_nuclei/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime="30m",
    params:
        code=code("count_nuclei"),
    shell:
        "python scripts/count_nuclei.py --st {input.st} --nuclei {input.nuclei} --counted {output.counted}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule measure_spots:
    input:
        st=rules.assemble_sample.output.st,
        nuclei=rules.segment_nuclei.output.nuclei,
        tissue=rules.segment_tissue.output.tissue,
        alignment=rules.align_array.output.alignment,
    output:
        spots="<samples>/{sample}/nuclei/{nuclei}_spots.parquet",
        record="<samples>/{sample}/records/measure_spots.{nuclei}.json",
    log:
        "<logs>/measure_spots/{sample}.{nuclei}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        code=code("measure_spots"),
    shell:
        "python scripts/measure_spots.py --st {input.st} --nuclei {input.nuclei} --tissue {input.tissue}"
        " --alignment {input.alignment} --spots {output.spots}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule match_cells:
    input:
        nuclei=rules.segment_nuclei.output.nuclei,
        cells=rules.assemble_cells.output.cells,
        alignment=rules.align_array.output.alignment,
    output:
        matches="<samples>/{sample}/nuclei/{nuclei}_cells.parquet",
        record="<samples>/{sample}/records/match_cells.{nuclei}.json",
    log:
        "<logs>/match_cells/{sample}.{nuclei}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        code=code("match_cells"),
    shell:
        "python scripts/match_cells.py --nuclei {input.nuclei} --cells {input.cells}"
        " --alignment {input.alignment} --matches {output.matches}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule explore_biomarkers:
    input:
        st=rules.assemble_sample.output.st,
        spots=of_first_model(rules.measure_spots.output.spots),
        nuclei=of_first_model(rules.segment_nuclei.output.nuclei),
        cells=when(has_cells, rules.assemble_cells.output.cells),
        matches=when(has_cells, *of_first_model(rules.match_cells.output.matches)),
    output:
        correlations="<samples>/{sample}/biomarkers.parquet",
        matrix=biomarker_picture("matrix"),
        heatmaps=biomarker_picture("heatmaps"),
        scatter=biomarker_picture("scatter"),
        record="<samples>/{sample}/records/explore_biomarkers.json",
    log:
        "<logs>/explore_biomarkers/{sample}.log",
    benchmark:
        "<benchmarks>/explore_biomarkers/{sample}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        given=as_json({"settings": config["biomarkers"]}),
        seed=config["seed"],
        code=code("explore_biomarkers"),
    shell:
        "python scripts/explore_biomarkers.py --sample {wildcards.sample} --st {input.st} --spots {input.spots}"
        " --nuclei {input.nuclei} --cells {input.cells} --matches {input.matches} --given - --seed {params.seed}"
        " --correlations {output.correlations} --matrix {output.matrix} --heatmaps {output.heatmaps}"
        " --scatter {output.scatter} --record {output.record} --code {params.code}"
        " <<< {params.given:q} > {log} 2>&1"
