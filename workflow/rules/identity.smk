rule fingerprint_sample:
    input:
        expression=rules.read_expression.output.expression,
        thumbnail=rules.build_pyramid.output.thumbnail,
    output:
        fingerprint="<samples>/{sample}/fingerprint.json",
        record="<samples>/{sample}/records/fingerprint_sample.json",
    log:
        "<logs>/fingerprint_sample/{sample}.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="30m",
    params:
        code=code("fingerprint_sample"),
    shell:
        "python scripts/fingerprint_sample.py --expression {input.expression} --thumbnail {input.thumbnail}"
        " --fingerprint {output.fingerprint} --record {output.record} --code {params.code} > {log} 2>&1"


rule audit_identity:
    input:
        fingerprints=expand(
            rules.fingerprint_sample.output.fingerprint, sample=sorted(SAMPLES)
        ),
    output:
        table="<results>/identity.csv",
    log:
        "<logs>/audit_identity.log",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime="1h",
    params:
        given=as_json(
            {
                "known": as_json(options.known_identities(TABLES, SAMPLES)),
                **options.with_donors(TABLES, sorted(SAMPLES)),
            }
        ),
        fingerprints=per_sample("fingerprint.json"),
        code=code("audit_identity"),
    shell:
        "python scripts/audit_identity.py --given - --fingerprints {params.fingerprints} --table {output.table}"
        " <<< {params.given:q} > {log} 2>&1"
