rule read_expression:
    input:
        manifest=rules.fetch_sample.output.manifest,
    output:
        expression="<samples>/{sample}/expression.h5ad",
        spots="<samples>/{sample}/spots.csv",
        record="<samples>/{sample}/records/read_expression.json",
    log:
        "<logs>/read_expression/{sample}.log",
    benchmark:
        "<benchmarks>/read_expression/{sample}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        reader=reader_of,
        given=lambda wildcards: as_json(
            {name: SAMPLES[wildcards.sample].get(name) for name in ("member",)}
        ),
        code=code("read_expression", lambda wc: reader_modules(reader_of(wc))),
    shell:
        "python scripts/read_expression.py --sample {wildcards.sample} --reader {params.reader}"
        " --given - --manifest {input.manifest}"
        " --expression {output.expression} --spots {output.spots}"
        " --record {output.record} --code {params.code} <<< {params.given:q} > {log} 2>&1"
