"""Snakemake for tests: it is imported once, and each run of it is a fork of this process.

Reads requests, one JSON object a line (folder, environment, arguments, files for what it says), and answers each with
the exit code. Two thirds of what a plan of a small project costs are the same for all, and the tests make more than a
hundred plans: imports, and two functions of a text alone. Their answers for this project's own text are kept; what a
test has changed in its copy is another text, and is parsed or compiled there.
"""

import ast
import functools
import gc
import json
import os
import sys
from pathlib import Path

import fastjsonschema

sys.path.pop(0)  # this folder: no module of the tests is found by the project
from snakemake.cli import get_argument_parser, main

ROOT = Path(__file__).resolve().parents[1]


def keep_answers() -> None:
    """Keep the trees of all modules, and the checks that all schemas become."""
    trees = {path.read_bytes(): ast.parse(path.read_bytes()) for path in (ROOT / "workflow").rglob("*.py")}
    parse, compiled = ast.parse, fastjsonschema.compile
    ast.parse = lambda source, *rest, **more: (
        trees[source] if isinstance(source, bytes) and source in trees else parse(source, *rest, **more)
    )
    of_text = functools.cache(lambda text: compiled(json.loads(text)))
    fastjsonschema.compile = lambda schema: of_text(json.dumps(schema))


def rehearse() -> None:
    """Read the demo's tables: what that imports, of other libraries, stays, and none of the project's own modules."""
    sys.path.insert(0, str(ROOT / "workflow"))
    from spotweave.plan import tables
    from spotweave.tables import config

    settings = config.overlaid(*(config.read(ROOT / f"config/{name}.yaml")[0] for name in ("config", "demo")))
    here = Path.cwd()
    os.chdir(ROOT)
    tables.load(settings, ROOT)
    os.chdir(here)
    sys.path.pop(0)
    for name in [name for name in sys.modules if name.partition(".")[0] == "spotweave"]:
        del sys.modules[name]


keep_answers()
rehearse()
get_argument_parser()  # finds Snakemake's plugins
gc.freeze()  # what is here is here to stay: no fork looks through it for what may go

for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        for descriptor, path in ((1, request["stdout"]), (2, request["stderr"])):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["snakemake", *request["arguments"]]
        gc.disable()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
