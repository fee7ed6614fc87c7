rule fetch_sample:
    output:
        manifest="<samples>/{sample}/raw.json",
        record="<samples>/{sample}/records/fetch_sample.json",
    log:
        "<logs>/fetch_sample/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        **{f"{source}_downloads": takes_from(source) for source in all_used_sources()},
        downloads=1,
        mem_mb=1000,
        runtime="8h",
    params:
        wanted=wanted_files,
        code=code("fetch_sample", lambda wc: requests.fetch_modules(TABLES, wc.sample)),
    shell:
        "python scripts/fetch_sample.py --given - --manifest {output.manifest} --record {output.record}"
        " --code {params.code} <<< {params.wanted[given]:q} > {log} 2>&1"


rule fetch:
    """Download everything and stop: what a login node can do before the cluster takes over."""
    input:
        expand("<samples>/{sample}/raw.json", sample=SAMPLES),
