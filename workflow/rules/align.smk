FIDUCIAL_WEIGHTS = "resources/fiducial_detector/weights.safetensors"
FIDUCIAL_PRINT = "resources/fiducial_print.csv"


rule detect_fiducials:
    input:
        manifest=rules.fetch_sample.output.manifest,
    output:
        fiducials="<samples>/{sample}/fiducials.json",
        overlay=picture("<samples>/{sample}/fiducials.png", "fiducials"),
        record="<samples>/{sample}/records/detect_fiducials.json",
    log:
        "<logs>/detect_fiducials/{sample}.log",
    benchmark:
        "<benchmarks>/detect_fiducials/{sample}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        weights=FIDUCIAL_WEIGHTS,
        printing=FIDUCIAL_PRINT,
        code=code("detect_fiducials", files=(FIDUCIAL_WEIGHTS, FIDUCIAL_PRINT)),
    shell:
        "python scripts/detect_fiducials.py --sample {wildcards.sample} --manifest {input.manifest}"
        " --weights {params.weights} --printing {params.printing}"
        " --fiducials {output.fiducials} --overlay {output.overlay}"
        " --record {output.record} --code {params.code} > {log} 2>&1"


rule align_array:
    input:
        manifest=rules.fetch_sample.output.manifest,
        spots=rules.read_expression.output.spots,
        reading=rules.read_expression.output.record,
        fiducials=when(has_frame, rules.detect_fiducials.output.fiducials),
        registration=when(is_registered, rules.register_sample.output.registration),
        field=when(is_registered, rules.register_sample.output.field),
    output:
        alignment="<samples>/{sample}/alignment.json",
        units="<samples>/{sample}/units.parquet",
        record="<samples>/{sample}/records/align_array.json",
    log:
        "<logs>/align_array/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        placing=lambda wildcards: technology_of(wildcards)["placing"],
        array=lambda wildcards: options.array_options(TABLES, wildcards.sample),
        limits=lambda wildcards: limits_of(placing_of(wildcards)),
        code=code("align_array", lambda wildcards: [placing_of(wildcards)]),
    shell:
        "python scripts/align_array.py --manifest {input.manifest} --spots {input.spots}"
        " --reading {input.reading} --fiducials {input.fiducials}"
        " --registration {input.registration} --field {input.field} --placing {params.placing} {params.array}"
        " --limits {params.limits:q} --alignment {output.alignment} --units {output.units} --record {output.record} --code {params.code} > {log} 2>&1"
