"""What a cluster profile says of groups and arrays, fitted to this configuration. Local runs know neither."""

import dataclasses

from snakemake.dag import DAG

# Rules that a configuration may put on a GPU, and the stages of a sample that come after them.
AFTER_NUCLEI = {
    "count_nuclei",
    "measure_spots",
    "match_cells",
    "explore_biomarkers",
    "describe_sample",
}
AFTER_GPU = {
    "segment_tissue": {
        "segment_nuclei",
        "assemble_sample",
        "extract_patches",
        *AFTER_NUCLEI,
    },
    "segment_nuclei": AFTER_NUCLEI,
}


def on_a_gpu():
    """The rules of a sample's stages that ask for a GPU in this configuration."""
    nuclei = any(int(TABLES.nuclei[name]["gpu"]) for name in config["nuclei"])
    asking = {"segment_tissue": config["tissue"]["gpu"], "segment_nuclei": nuclei}
    return [name for name in AFTER_GPU if asking[name]]


def keep_gpus_free(groups):
    """Groups in which no job on a GPU is together with others, which would hold the GPU while they run on cores.

    A job in the midst of a group cannot be taken out of it alone, since the group would wait for itself: what comes
    after it is a group of its own.
    """
    alone = on_a_gpu()
    return {
        name: "_after_".join([group, *(gpu for gpu in alone if name in AFTER_GPU[gpu])])
        for name, group in groups.items()
        if name not in alone
    }


def none_pending(dag, rule_name):
    return 0


def submit_what_is_ready():
    """Have arrays hold the jobs that are ready and have a slot, however many others there are.

    The executor's own choice waits for the others of their kind after the scheduler has counted the jobs as running.
    With more jobs than slots they are never submitted, and the run stands still.
    """
    slurm = sys.modules.get("snakemake_executor_plugin_slurm")
    if slurm is not None:
        slurm.pending_jobs_for_rule = none_pending


def fit_groups():
    """Fit the groups when the jobs are planned: the profile's are known only then."""
    begin = DAG.init

    async def init(dag, *arguments, **options):
        if dag.workflow is workflow:
            given = workflow.group_settings
            groups = keep_gpus_free(given.overwrite_groups)
            # A group that was taken apart keeps the number of samples of the one it was.
            many = {
                group: given.group_components[group.partition("_after_")[0]]
                for group in groups.values()
                if group.partition("_after_")[0] in given.group_components
            }
            workflow.group_settings = dataclasses.replace(
                given, overwrite_groups=groups, group_components=many
            )
        await begin(dag, *arguments, **options)

    DAG.init = init


if workflow.is_main_process:
    fit_groups()
    submit_what_is_ready()
