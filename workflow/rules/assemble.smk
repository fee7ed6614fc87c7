rule assemble_sample:
    input:
        expression=rules.read_expression.output.expression,
        alignment=rules.align_array.output.alignment,
        units=rules.align_array.output.units,
        slide=rules.build_pyramid.output.slide,
        tissue=rules.segment_tissue.output.tissue,
        pool=when(is_pooled, rules.pool_sample.output.pool),
    output:
        st="<samples>/{sample}/st.h5ad",
        spatial_plot=picture("<samples>/{sample}/spatial_plot.png", "counts"),
        pixel_size_plot=picture("<samples>/{sample}/pixel_size.png", "pixel size"),
        record="<samples>/{sample}/records/assemble_sample.json",
    log:
        "<logs>/assemble_sample/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        pooling=lambda wildcards: technology_of(wildcards)["pooling"],
        spots_min=LIMITS["spots_min"],
        code=code("assemble_sample", lambda wildcards: [pooling_of(wildcards)]),
    shell:
        "python scripts/assemble_sample.py --sample {wildcards.sample} --expression {input.expression}"
        " --alignment {input.alignment} --units {input.units} --slide {input.slide} --tissue {input.tissue}"
        " --pool {input.pool} --pooling {params.pooling} --spots-min {params.spots_min} --st {output.st} --spatial-plot {output.spatial_plot}"
        " --pixel-size-plot {output.pixel_size_plot} --record {output.record} --code {params.code} > {log} 2>&1"


rule extract_patches:
    input:
        st=rules.assemble_sample.output.st,
        slide=rules.build_pyramid.output.slide,
        alignment=rules.align_array.output.alignment,
        tissue=rules.segment_tissue.output.tissue,
        marks=rules.segment_tissue.output.marks,
    output:
        patches="<samples>/{sample}/patches.h5",
        more=[
            f"<samples>/{{sample}}/patches_more/{size}.h5"
            for size in config["patch"]["also"]
        ],
        patches_plot=picture("<samples>/{sample}/patches.jpg", "patches"),
        record="<samples>/{sample}/records/extract_patches.json",
    log:
        "<logs>/extract_patches/{sample}.log",
    benchmark:
        "<benchmarks>/extract_patches/{sample}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        size_px=config["patch"]["size_px"],
        pixel_size_um=config["patch"]["pixel_size_um"],
        also=" ".join(config["patch"]["also"]),
        pictures="" if config["patch"]["pictures"] else "--coordinates-only",
        quality_flag=config["patch"]["quality_flag"],
        code=code("extract_patches"),
    shell:
        "python scripts/extract_patches.py --sample {wildcards.sample} --st {input.st} --slide {input.slide}"
        " --alignment {input.alignment} --tissue {input.tissue} --marks {input.marks}"
        " --size-px {params.size_px} --target-pixel-size-um {params.pixel_size_um} --also {params.also}"
        " {params.pictures} --quality-flag {params.quality_flag}"
        " --patches {output.patches} {output.more} --patches-plot {output.patches_plot}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule describe_sample:
    input:
        records=[
            rules.fetch_sample.output.record,
            rules.read_expression.output.record,
            rules.align_array.output.record,
            rules.build_pyramid.output.record,
            rules.segment_tissue.output.record,
            rules.assemble_sample.output.record,
            rules.extract_patches.output.record,
        ],
        some_records=some_records,
        manifest=rules.fetch_sample.output.manifest,
        st=released_st,
        files=[
            rules.build_pyramid.output.slide,
            rules.build_pyramid.output.thumbnail,
            rules.segment_tissue.output.tissue,
            rules.segment_tissue.output.marks,
            rules.extract_patches.output.patches,
            rules.extract_patches.output.more,
            rules.extract_patches.output.patches_plot,
            rules.assemble_sample.output.spatial_plot,
            rules.assemble_sample.output.pixel_size_plot,
        ],
        some_files=some_files,
    output:
        metadata="<samples>/{sample}/metadata.json",
        provenance="<samples>/{sample}/provenance.json",
    log:
        "<logs>/describe_sample/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="30m",
    params:
        given=lambda wildcards: as_json(
            {
                "row": public_row(SAMPLES[wildcards.sample], TABLES.file_columns),
                "settings": settings_of(wildcards),
            }
        ),
        code=code("describe_sample"),
    shell:
        "python scripts/describe_sample.py --sample {wildcards.sample} --given -"
        " --records {input.records} {input.some_records} --manifest {input.manifest}"
        " --files {input.st} {input.files} {input.some_files}"
        " --metadata {output.metadata} --provenance {output.provenance} <<< {params.given:q} > {log} 2>&1"


rule assemble_cohort:
    input:
        metadata=members(rules.describe_sample.output.metadata),
    output:
        shard="<results>/cohorts/{cohort}.json",
    log:
        "<logs>/assemble_cohort/{cohort}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="30m",
    params:
        given=lambda wildcards: as_json({"samples": COHORTS[wildcards.cohort]}),
        metadata=per_sample("metadata.json"),
        code=code("assemble_cohort"),
    shell:
        "python scripts/assemble_cohort.py --given - --metadata {params.metadata} --shard {output.shard}"
        " <<< {params.given:q} > {log} 2>&1"


rule assemble_dataset:
    input:
        shards=expand(rules.assemble_cohort.output.shard, cohort=COHORTS),
    output:
        table=f"<results>/{config['dataset']}.csv",
        quarantine="<results>/quarantine.csv",
        left_out="<results>/left_out.csv",
        findings="<results>/metadata_findings.csv",
        manifest="<results>/MANIFEST.sha256",
    log:
        "<logs>/assemble_dataset.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        given=as_json({"choice": options.left_out_by_reason(TABLES)}),
        code=code("assemble_dataset"),
    shell:
        "python scripts/assemble_dataset.py --shards {input.shards} --table {output.table}"
        " --quarantine {output.quarantine} --left-out {output.left_out} --findings {output.findings} --given -"
        " --manifest {output.manifest} <<< {params.given:q} > {log} 2>&1"


rule dataset:
    """The dataset without the benchmark."""
    input:
        rules.assemble_dataset.output,
        rules.audit_identity.output,
