"""Which encoders of a sample are embedded with in one job, and that it comes before their own."""

from spotweave.plan.together import companies, made_by

# Encoders that one reading of a sample's patches serves.
TOGETHER = config.get("embed", {}).get("together", 1)
COMPANIES = companies(TABLES, config["encoders"], TOGETHER)
COMPANY_OF = {
    encoder: company for company, encoders in COMPANIES.items() for encoder in encoders
}


wildcard_constraints:
    company=one_of(COMPANIES),


def of_sample(sample, file):
    return f"results/{config['dataset']}/samples/{sample}/{file}"


@functools.cache
def embedding_code(encoder):
    """The code hash of an encoder's own job."""
    builders = [f"encoders/{name}" for name in TABLES.builders_of(encoder)]
    return code("embed_patches", lambda wildcards: builders)(None)


@functools.cache
def due_of(sample, company):
    """The encoders of a company whose files are not there, or were made by other code.

    What else makes Snakemake run their own jobs is not known yet where this is asked: those embed alone.
    """
    return [
        encoder
        for encoder in COMPANIES[company]
        if not os.path.exists(of_sample(sample, f"embeddings/{encoder}.h5"))
        or made_by(of_sample(sample, f"records/embed_patches.{encoder}.json"))
        != embedding_code(encoder)
    ]


def company_builders(wildcards):
    """The entries of the registry of encoders that a job loads."""
    company = COMPANIES[wildcards.company]
    return sorted(
        {f"encoders/{name}" for one in company for name in TABLES.builders_of(one)}
    )


def asked_of_company(wildcards):
    """What a job is told of each encoder that is due."""
    return [
        {
            "row": options.without_remarks(TABLES.encoder_row(encoder)),
            "code": embedding_code(encoder),
            "scratch": of_sample(wildcards.sample, f"embeddings/{encoder}.h5.resume"),
        }
        for encoder in due_of(wildcards.sample, wildcards.company)
    ]


def company_row(wildcards):
    return TABLES.encoder_row(COMPANIES[wildcards.company][0])


def company_size(wildcards):
    """Encoders in memory at a time."""
    return min(TOGETHER, len(COMPANIES[wildcards.company]))


def company_first(record):
    """Input function: the record of the job in which an encoder embeds with others that are due."""

    def found(wildcards):
        company = COMPANY_OF.get(wildcards.encoder)
        due = due_of(wildcards.sample, company) if company else []
        if wildcards.encoder not in due or len(due) < 2:
            return []
        return expand(record, company=company, allow_missing=True)

    return taking(record)(found)


def make_nothing_of_an_order():
    """Keep what only has to come first out of what a file is known to be made of.

    Embedding with others or alone makes the same file: neither a new member nor the setting makes it again.
    """
    from snakemake.persistence import PersistenceBase

    known = PersistenceBase._input

    def _input(persistence, job):
        return [
            path
            for path in known(persistence, job)
            if "records/embed_together." not in path
        ]

    PersistenceBase._input = _input


if COMPANIES and workflow.is_main_process:
    make_nothing_of_an_order()
