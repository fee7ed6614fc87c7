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
        fiducials=if_frame(rules.detect_fiducials.output.fiducials),
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
        array=lambda wildcards: options.array_options(TABLES, wildcards.sample),
        limits=as_json(
            {
                name: LIMITS[name]
                for name in (
                    "pixel_size_max_um",
                    "pixel_size_min_um",
                    "residual_max_um",
                    "anisotropy_max",
                    "spots_outside_max",
                    "spots_off_lattice_max",
                    "frame_offset_max_um",
                    "frame_offset_flagged_um",
                    "agreement_min",
                    "edge_auc_flagged",
                    "rival_gain_max",
                    "rival_gain_flagged",
                )
            }
        ),
        code=code("align_array"),
    shell:
        "python scripts/align_array.py --manifest {input.manifest} --spots {input.spots}"
        " --reading {input.reading} --fiducials {input.fiducials} {params.array} --limits {params.limits:q}"
        " --alignment {output.alignment} --record {output.record} --code {params.code} > {log} 2>&1"
