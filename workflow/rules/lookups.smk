"""What Snakemake looks up for every job, looked up once: which rule makes an input, and what a function takes."""

import collections
import inspect

from snakemake.common import FUNC_OVERWRITE_PARAMS_ATTR
from snakemake.io import is_callable, strip_wildcard_constraints
from snakemake.resources import Resource


def function_of(item):
    """The function behind an input, a parameter or a resource; None where it is a value."""
    item = getattr(item, "callable", None) or getattr(item, "_evaluator", None) or item
    return item if inspect.isfunction(item) else None


def name_makers():
    """Tell every rule which rule makes what it takes from `rules.<name>.output`.

    Snakemake notes that itself only where no wildcard has a constraint, and else tries the patterns of all rules on
    every file of every job.
    """
    every = [
        (strip_wildcard_constraints(path), each.name)
        for each in workflow.rules
        for path in each.output
    ]
    times = collections.Counter(path for path, _ in every)
    # Where two rules make files of a name, wildcards say which of them: Snakemake looks that up.
    makers = {path: name for path, name in every if times[path] == 1}
    for each in workflow.rules:
        for path in each.input:
            taken = getattr(function_of(path), "takes", [path])
            made_by = {makers.get(one) for one in taken if not is_callable(one)}
            if len(made_by) == 1 and None not in made_by:
                each.dependencies[path] = made_by.pop()


def remember_signatures():
    """Keep what each function takes beside it, where Snakemake looks first, instead of finding it for every job."""
    functions = {Resource.evaluate}
    for each in workflow.rules:
        for items in (each.input, each.params, each.resources.values()):
            functions.update(filter(None, map(function_of, items)))
    for function in functions:
        named = dict(inspect.signature(function).parameters)
        named.pop("self", None)
        setattr(function, FUNC_OVERWRITE_PARAMS_ATTR, named)


remember_signatures()
# Who plans some rules alone, as every job of a cluster does, must not look beyond them.
if workflow.is_main_process and "--allowed-rules" not in sys.argv:
    name_makers()
