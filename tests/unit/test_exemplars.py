"""Exemplars and graphs against brute force, closed forms of lattices, and what the published scripts wrote."""

import numpy as np
import pytest

from real_data import real
from spotweave.exemplars.graphs import exemplar_graph, nearest_among, published_window_edges, window_edges
from spotweave.exemplars.retrieval import NoExemplars, nearest


def oracle(name):
    with np.load(real("data/method_oracles", f"{name}.npz")) as file:
        return {key: file[key] for key in file.files}


def as_set(edges):
    return set(map(tuple, np.asarray(edges).astype(int).T.tolist()))


def sections(found):
    return np.array(found.searched)[found.section]


@pytest.mark.parametrize(("name", "distance"), [("egn_v1_retrieval", "l2"), ("egn_v2_retrieval", "l1")])
def test_retrieval_finds_what_the_published_scripts_found(name, distance):
    arrays = oracle(name)
    known = {int(i): arrays[f"in/section{int(i)}_features"] for i in arrays["in/reference_sections"]}
    for section in range(6):
        queries = arrays[f"in/section{section}_features"]
        wanted = {part: arrays[f"out/section{section}_{part}"] for part in ("distance", "spot", "section")}
        for published in (True, False):
            found = nearest(queries, section, known, int(arrays["in/K"]), distance, published)
            assert (sections(found) == wanted["section"]).all()
            assert (found.spot == wanted["spot"]).all()
            np.testing.assert_allclose(found.distance, wanted["distance"], atol=1e-5)
        kept = nearest(queries, section, known, 1000, distance, published=True)
        assert kept.distance.shape[1] == arrays[f"out/section{section}_kept_per_spot"]
        np.testing.assert_allclose(
            kept.distance[:, 0], arrays[f"out/section{section}_farthest_kept_distance"], atol=1e-5
        )
        assert (kept.last(6).spot == wanted["spot"]).all()


@pytest.mark.parametrize(("distance", "order"), [("l2", 2), ("l1", 1)])
def test_retrieval_equals_brute_force_and_leaves_the_own_section_out(distance, order):
    random = np.random.default_rng(5)
    known = {name: random.normal(size=(size, 3)) for name, size in (("b", 7), ("a", 300), ("c", 2))}
    queries = np.concatenate([known["a"][::-1], random.normal(size=(2, 3))])
    found = nearest(queries, "a", known, 4, distance)
    every = np.concatenate([known["b"], known["c"]])
    far = np.linalg.norm(queries[:, None] - every[None], ord=order, axis=2)
    np.testing.assert_allclose(found.distance, np.sort(far, axis=1)[:, :4][:, ::-1])
    assert "a" not in found.searched
    here = np.where(sections(found) == "b", found.spot, found.spot + 7)
    np.testing.assert_allclose(np.take_along_axis(far, here, axis=1), found.distance)
    # A section that is not searched itself leaves none out: each of its spots is nearest to its twin.
    assert (nearest(known["a"], None, known, 1, distance).distance == 0).all()
    assert nearest(queries, "a", known, 100, distance).distance.shape == (302, 9)
    assert nearest(queries[:0], "a", known, 4, distance).distance.shape == (0, 4)


def test_ties_go_to_the_first_and_few_spots_stop_only_the_published_search():
    known = {"a": np.zeros((3, 2)), "b": np.zeros((2, 2))}
    found = nearest(np.zeros((3, 2)), None, known, 4)
    assert found.spot.tolist() == [[0, 2, 1, 0]] * 3
    assert sections(found)[0].tolist() == ["b", "a", "a", "a"]
    with pytest.raises(NoExemplars, match="wants 3 spots of every sample, and b has 2"):
        nearest(np.zeros((3, 2)), None, known, 2, published=True)
    # The published search takes as many of a section as there are queries: one query sees one spot of each.
    near, far = {"a": np.array([[1.0], [2.0]]), "b": np.array([[9.0], [9.5]])}, np.zeros((1, 1))
    assert nearest(far, None, near, 2, published=True).distance.tolist() == [[9, 1]]
    assert nearest(far, None, near, 2).distance.tolist() == [[2, 1]]
    with pytest.raises(NoExemplars, match="no other training sample"):
        nearest(np.zeros((3, 2)), "a", {"a": known["a"]}, 2)


def test_graphs_are_those_of_the_published_scripts():
    arrays = oracle("egn_v2_graph")
    low, high = arrays["out/gene_minimum_log10"], arrays["out/gene_maximum_log10"]
    genes = arrays["out/kept_gene_index"].astype(int)
    scaled = [(np.log10(arrays[f"in/section{i}_counts"][:, genes] + 1) - low) / (high - low + 1e-8) for i in range(6)]
    features = [arrays[f"in/section{i}_features"] for i in range(6)]
    known = {int(i): features[int(i)] for i in arrays["in/reference_sections"]}
    for section in range(6):
        found = nearest(features[section], section, known, 3, "l1", published=True)
        here = [list(zip(*pair, strict=True)) for pair in zip(sections(found), found.spot, strict=True)]
        graph = exemplar_graph(
            np.array([[features[s][spot] for s, spot in row] for row in here]),
            np.array([[scaled[s][spot] for s, spot in row] for row in here], dtype=np.float32),
        )
        wanted = {key: arrays[f"out/section{section}_edges_{key}"] for key in ("exemplar_to_window", "window_window")}
        np.testing.assert_array_equal(graph.to_windows, wanted["exemplar_to_window"])
        assert as_set(graph.among) == as_set(arrays[f"out/section{section}_edges_exemplar_exemplar"])
        assert as_set(published_window_edges(arrays[f"in/section{section}_pixel_xy"])) == as_set(
            wanted["window_window"]
        )
        if section in (0, 3):
            np.testing.assert_allclose(graph.features, arrays[f"out/section{section}_exemplar_features"], atol=1e-6)
            np.testing.assert_allclose(graph.expression, arrays[f"out/section{section}_exemplar_expression"], atol=1e-6)


def lattice(rows, columns, pitch, hexagonal):
    row, column = (grid.ravel() for grid in np.mgrid[:rows, :columns])
    shift = (row % 2) / 2 if hexagonal else 0
    return pitch * np.stack([column + shift, row * (np.sqrt(0.75) if hexagonal else 1)], axis=1)


@pytest.mark.parametrize(("hexagonal", "inside"), [(False, 8), (True, 6)])
@pytest.mark.parametrize("pitch", [0.7, 137.0, 290.0])
def test_neighbours_are_those_of_the_lattice_whatever_the_pitch(hexagonal, inside, pitch):
    random = np.random.default_rng(1)
    at = lattice(7, 9, pitch, hexagonal)
    edges = window_edges(at + random.normal(scale=0.005 * pitch, size=at.shape))
    degree = np.bincount(edges[1], minlength=len(at)).reshape(7, 9)
    assert (degree[1:-1, 1:-1] == inside).all()
    assert as_set(edges) == as_set(edges[::-1])
    assert not (edges[0] == edges[1]).any()
    order = random.permutation(len(at))
    assert as_set(order[window_edges(at[order])]) == as_set(window_edges(at))


def test_squares_of_256_px_join_other_spots_than_the_lattice_does():
    at = lattice(8, 8, 100.0, hexagonal=True)  # Visium's 100 um where a px is 1 um
    published = np.bincount(published_window_edges(at)[1], minlength=64)
    assert published.max() == 5
    mended, squares = as_set(window_edges(at)), as_set(published_window_edges(at))
    assert len(squares - mended) > len(squares) / 4  # joined although they are no neighbours
    assert published_window_edges(lattice(5, 5, 520.0, hexagonal=False)).shape == (2, 0)  # and here nobody is


def test_few_spots_and_few_exemplars_have_few_edges():
    assert window_edges(np.zeros((1, 2))).shape == (2, 0)
    assert window_edges(np.array([[0, 0], [5, 0]])).tolist() == [[1, 0], [0, 1]]
    assert published_window_edges(np.zeros((1, 2))).shape == (2, 0)
    assert nearest_among(np.zeros((1, 3))).shape == (2, 0)
    assert as_set(nearest_among(np.array([[0.0], [1], [3]]))) == {(1, 0), (2, 0), (0, 1), (2, 1), (1, 2), (0, 2)}
    many = np.random.default_rng(3).normal(size=(600, 2))  # more than are searched at a time
    far = np.linalg.norm(many[:, None] - many[None], axis=2) + np.diag(np.full(600, np.inf))
    np.testing.assert_array_equal(nearest_among(many)[0], far.argsort(axis=1)[:, :3].ravel())
    # K exemplars of N windows are found again through the edges, however often they are shared.
    random = np.random.default_rng(2)
    known = random.normal(size=(5, 4))
    which = random.integers(5, size=(6, 3))
    graph = exemplar_graph(known[which, :3], known[which, 3:])
    assert len(graph.features) == len(np.unique(which))
    back = np.concatenate([graph.features, graph.expression], axis=1)[graph.to_windows[0]]
    np.testing.assert_array_equal(back, known[which.ravel()])
    assert graph.to_windows[1].tolist() == np.repeat(np.arange(6), 3).tolist()
