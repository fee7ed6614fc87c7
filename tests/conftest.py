"""Builds shared by the tests of one file."""

import pytest

from project import SMALL, Project


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are named by their argument: a packed stream holds the time, and workers must collect the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def deposit(tmp_path_factory):
    return tmp_path_factory.mktemp("deposit") / "demo"


@pytest.fixture(scope="module")
def built(tmp_path_factory, deposit):
    project = Project(tmp_path_factory.mktemp("built"), deposit, SMALL)
    project.snakemake()
    return project
