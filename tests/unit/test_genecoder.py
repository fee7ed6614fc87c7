"""GeneCodeR: its updates against the published formulas written out, exact recovery, and what was mended."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from learned import cohort, patch_file, pictured

from spotweave import methods
from spotweave.methods import Job, Pictures
from spotweave.networks.genecoder import Blocks, GeneCoder, directions, gram_of

TINY = {"kind": "genecoder", "preset": "tiny"}


def latent(spots, pixels, genes, rank, noise=0.0, seed=0):
    """(N, P) and (N, G) that are linear in the same `rank` numbers of each spot."""
    draw = np.random.default_rng(seed)
    code = draw.normal(size=(spots, rank))
    faces = [code @ draw.normal(size=(rank, width)) + draw.normal(size=width) for width in (pixels, genes)]
    return [torch.from_numpy(face + noise * draw.normal(size=face.shape)) for face in faces]


def begun(pictures, expression, components, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Blocks(gram_of(pictures, pictures), gram_of(expression, expression), components, generator)


def explained(truth, found):
    return float(1 - ((truth - found) ** 2).sum() / ((truth - truth.mean(dim=0)) ** 2).sum())


def filled(blocks, pictures, expression):
    network = GeneCoder(expression.shape[1], pixels=pictures.shape[1], components=len(blocks.code))
    network.fill(blocks, pictures, expression)
    return network


def test_the_published_number_of_parameters():
    with torch.device("meta"):
        assert sum(one.numel() for one in GeneCoder(785).parameters()) == 75_656_500
        assert sum(one.numel() for one in GeneCoder(24, pixels=7, components=3).parameters()) == 93


def test_sweeps_by_gram_matrices_are_the_published_updates():
    """The formulas as they are described, on the data themselves."""
    data = latent(23, 61, 17, 6, noise=0.5)
    blocks = begun(*data, 5)
    rows, origins = blocks.rows.numpy().copy(), [face.numpy().mean(axis=0) for face in data]
    loadings = [
        np.linalg.svd(face.numpy() - origin, full_matrices=False)[2][:5].T
        for face, origin in zip(data, origins, strict=True)
    ]
    # A singular vector may point either way.
    for number, weights in enumerate((blocks.picture_weights, blocks.gene_weights)):
        own = data[number].numpy().T @ weights.numpy()
        np.testing.assert_allclose(np.abs((own * loadings[number]).sum(axis=0)), 1, atol=1e-9)
        loadings[number] = own
    plus = np.linalg.pinv
    for _ in range(2):
        blocks.sweep(as_described=True)
        for number, face in enumerate(data):
            y, b = face.numpy() - origins[number], loadings[number]
            s, t = y @ b @ plus(b.T @ b), plus(rows @ rows.T) @ rows @ y
            products = rows @ y @ b
            code = plus(rows @ rows.T) @ products @ plus(b.T @ b)
            rows = (s @ code.T @ plus(code @ code.T)).T
            loadings[number] = (plus(code.T @ code) @ code.T @ t).T
            origins[number] = (face.numpy() - rows.T @ code @ loadings[number].T).mean(axis=0)
            kept = (blocks.picture_products, blocks.gene_products)[number].numpy()
            np.testing.assert_allclose(kept, products, rtol=1e-6, atol=1e-6 * np.abs(products).max())
    starts = (blocks.picture_start, blocks.gene_start)
    for number, weights in enumerate((blocks.picture_weights, blocks.gene_weights)):
        own = data[number].numpy().T @ weights.numpy()
        np.testing.assert_allclose(own, loadings[number], atol=1e-6 * np.abs(loadings[number]).max())
        np.testing.assert_allclose(data[number].numpy().T @ starts[number].numpy(), origins[number], atol=1e-6)
    np.testing.assert_allclose(blocks.code.numpy(), code, atol=1e-6 * np.abs(code).max())
    np.testing.assert_allclose(blocks.rows.numpy(), rows, atol=1e-6 * np.abs(rows).max())
    inner = plus(loadings[0].T @ loadings[0])
    found = filled(blocks, *data)(data[0].float()).numpy()
    expected = (data[0].numpy() - origins[0]) @ loadings[0] @ inner @ loadings[1].T + origins[1]
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("components", "seed"), [(5, 0), (5, 1), (9, 2)])
def test_a_code_that_both_share_is_recovered_exactly_and_as_described_it_is_not(components, seed):
    pictures, expression = latent(95, 203, 11, 5, seed=seed)
    scores = {}
    for as_described in (False, True):
        blocks = begun(pictures[:60], expression[:60], components, seed)
        for _ in range(3):
            blocks.sweep(as_described=as_described)
        found = filled(blocks, pictures[:60], expression[:60])(pictures[60:].float())
        scores[as_described] = explained(expression[60:], found)
        in_place = blocks.read(gram_of(pictures[60:], pictures[:60]), expression[:60])
        np.testing.assert_allclose(found, in_place, atol=2e-4 * float(in_place.abs().max()))
    assert scores[False] > 0.9999 and scores[True] < 0


def test_noise_leaves_what_can_be_known_and_the_rest_stays_within_bounds():
    pictures, expression = latent(340, 301, 90, 5, noise=1.0)
    for components in (5, 60):
        blocks = begun(pictures[:300], expression[:300], components)
        left = [blocks.sweep() for _ in range(6)]
        assert 0 < min(left) <= max(left) < 0.5
        found = blocks.read(gram_of(pictures[300:], pictures[:300]), expression[:300])
        best = explained(expression[300:], latent(340, 301, 90, 5)[1][300:])
        assert best * 0.9 < explained(expression[300:], found) < best


def test_predictions_are_the_same_in_any_basis_of_the_code():
    pictures, expression = latent(31, 47, 13, 4, noise=0.2)
    blocks = begun(pictures, expression, 4)
    blocks.sweep()
    network = filled(blocks, pictures, expression)
    found = network(pictures.float())
    turn = torch.randn(4, 4, generator=torch.Generator().manual_seed(3)) + 2 * torch.eye(4)
    for loadings in (network.picture_loadings, network.gene_loadings):
        loadings.data = loadings.data @ turn
    np.testing.assert_allclose(network(pictures.float()), found, atol=1e-4 * float(found.abs().max()))
    network.gene_loadings.data = network.gene_loadings.data @ turn  # of one alone it is another method
    assert not np.allclose(network(pictures.float()), found, atol=0.1)


def test_there_are_no_more_components_than_directions(tmp_path):
    assert directions(40, 3000, 785, 500) == 39
    assert directions(4000, 768, 785, 800) == 768
    assert directions(4000, 3000, 50, 500) == 50
    assert directions(1, 3000, 50, 500) == 1
    data = cohort(tmp_path, sizes=(6, 14), inner=False)
    few = replace(data, samples=[data.samples[0]])
    assert methods.load("genecoder").fit(few, TINY, Job(0)).details["components"] == 5
    whole = few.samples[0]
    one = replace(whole, sample=replace(whole.sample, spots=whole.sample.spots[:1]), expression=whole.expression[:1])
    found = methods.load("genecoder").fit(replace(few, samples=[one]), TINY, Job(0)).predict(whole.sample)
    np.testing.assert_allclose(found, np.tile(one.expression, (6, 1)), atol=1e-6)


def test_as_published_bright_pixels_are_dark_and_sweeps_end_by_the_tolerance(tmp_path):
    data = cohort(tmp_path)
    shown, _ = pictured(tmp_path, "c", 7, seed=4)
    for behaviour, differs in (("mended", False), ("published", True)):
        kind, row = methods.load("genecoder"), {**TINY, "behaviour": behaviour, "epochs": "60"}
        fitted = kind.fit(data, row, Job(0))
        assert fitted.details["behaviour"] == behaviour
        assert ("held-out" in fitted.details["chosen_by"]) != differs
        assert (fitted.details["epochs"] < 60) == differs
        found = fitted.predict(shown)
        bright = np.concatenate(list(shown.images()))
        bright[:, 8:] = 255
        files = [
            patch_file(tmp_path / f"{number}.h5", shown.spots, images)
            for number, images in enumerate((bright, np.where(bright == 255, 0, bright)))
        ]
        as_bright, as_dark = (fitted.predict(replace(shown, pictures=Pictures(path))) for path in files)
        assert np.array_equal(as_bright, as_dark) == differs
        assert not np.array_equal(found, as_dark)
