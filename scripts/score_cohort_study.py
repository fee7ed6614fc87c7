"""Score what methods predicted of patients: against bulk expression, against pictures' colours, and by survival.

python scripts/score_cohort_study.py --predictions egnv2.csv st_net.csv --bulk bulk.csv --clinical clinical.csv \\
    --seed 1 --summary summary.csv --ranks ranks.csv --agreement agreement.csv --quality quality.csv \\
    --risks risks.csv --curves curves.csv

Every table has a row a patient and names it in its column `patient`; a file of predictions is named after its method.
"""

from pathlib import Path

from _stage import Stage

OUTPUTS = ["summary", "ranks", "agreement", "quality", "risks", "curves"]

stage = Stage("score_cohort_study", __doc__, inputs=["predictions+"], outputs=OUTPUTS, record=False)
stage.option("--bulk", type=Path, help="measured expression of the patients, a column a gene")
stage.option("--clinical", type=Path, help="vital_status, days_to_death, days_to_last_follow_up")
stage.option("--colours", type=Path, help="nine numbers of the patients' slides, as predict_slides writes them")
stage.option("--seed", type=int, required=True, help="of the folds of patients")
stage.option("--repeats", type=int, default=100, help="how often patients are dealt into three folds")
stage.option(
    "--genes",
    choices=["five", "lasso", "lasso_published"],
    default="five",
    help="of a risk: five by P; the LASSO's, the benchmark's older way; these shifted by one, as its code has them",
)
stage.option("--ranking", choices=["donors", "published"], default="donors", help="how ranks treat what is undefined")


def work(args):
    from spotweave.studies import standing, study

    truth = study.Truth.read(args.bulk, args.clinical, args.colours)
    predicted = {path.stem: study.read_patients(path) for path in args.predictions}
    tables = study.assess(predicted, truth, args.seed, args.repeats, args.genes)
    study.write_all(tables, {name: getattr(args, name) for name in OUTPUTS if name != "ranks"})
    study.write(standing.ranks(tables.of("summary"), args.ranking), args.ranks)


if __name__ == "__main__":
    stage.run(work)
