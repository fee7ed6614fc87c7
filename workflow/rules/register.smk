rule register_sample:
    input:
        manifest=rules.fetch_sample.output.manifest,
    output:
        registration="<samples>/{sample}/registration.json",
        field="<samples>/{sample}/registration_field.npy",
        overlay=picture("<samples>/{sample}/registration.png", "registration"),
        checkerboard=picture("<samples>/{sample}/checkerboard.png", "checkerboard"),
        record="<samples>/{sample}/records/register_sample.json",
    log:
        "<logs>/register_sample/{sample}.log",
    benchmark:
        "<benchmarks>/register_sample/{sample}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(8000),
        runtime="4h",
    params:
        settings=as_json(config["registration"]),
        stated=lambda wildcards: options.registration_options(TABLES, wildcards.sample),
        limits=limits_of("register/sample"),
        code=code("register_sample"),
    shell:
        "python scripts/register_sample.py --manifest {input.manifest}"
        " --settings {params.settings:q} {params.stated} --limits {params.limits:q}"
        " --registration {output.registration} --field {output.field}"
        " --overlay {output.overlay} --checkerboard {output.checkerboard}"
        " --record {output.record} --code {params.code} > {log} 2>&1"
