"""Plans for tests: Snakemake is imported once, and each plan runs in a fork of this process.

Reads requests, one JSON object a line (folder, environment, arguments, files for what it says), and answers each with
the exit code. Importing Snakemake is half of what a plan of a small project costs, and the tests make a hundred plans.
"""

import json
import os
import sys

sys.path.pop(0)  # this folder: no module of the tests is found by the project
from snakemake.cli import main

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
        main()
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
