"""Before it is decided which jobs run: what became of the files of earlier runs."""

from snakemake.dag import DAG

from spotweave import ledger

# What every job has written, by its own account.
LEDGER = ledger.Ledger(Path("results") / config["dataset"] / ".ledger")
os.environ[ledger.VARIABLE] = str(LEDGER.root)


def distrust_damaged(dag):
    """Have the jobs run again whose files have gone, or are not as they were written.

    Snakemake itself asks for a missing file only where it is a target or a job that has to run needs it.
    """
    damaged = []
    known = LEDGER.root.is_dir()
    for job in dag.jobs:
        if not job.output:
            continue
        gone = [path for path in job.output if not os.path.lexists(path)]
        faults = LEDGER.faults(job.output) if known else []
        if gone:
            dag.reason(job).missing_output.update(gone)
        elif faults:
            dag.forcefiles.update(job.output)
        damaged += faults
    if damaged:
        print(ledger.notice(damaged), file=sys.stderr)


def heed_the_ledger():
    """Look into the ledger when the jobs are known and before it is decided which have to run.

    That is where Snakemake looks for incomplete files, which these are a kind of; it has no hook there.
    """
    check = DAG.check_incomplete

    async def check_incomplete(dag):
        await check(dag)
        if dag.workflow is workflow:
            distrust_damaged(dag)

    DAG.check_incomplete = check_incomplete


def say_how_to_unlock():
    """What to type after a run was killed, before Snakemake says that its folder is locked."""
    there = any(Path(".snakemake/locks").glob("*"))
    if there and not workflow.dryrun and "--unlock" not in sys.argv:
        print(
            "Another run is at work here, or was killed. If it was killed, type your command once with --unlock added,"
            " then as before with --rerun-incomplete (the profiles have it).",
            file=sys.stderr,
        )


# A job on a cluster node plans itself alone, and its outputs are being made.
if workflow.is_main_process:
    heed_the_ledger()
    say_how_to_unlock()
