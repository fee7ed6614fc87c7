"""EGN, both versions, against numbers of the published code (its weights, inputs, outputs) and closed forms."""

import numpy as np
import pytest
import torch
from method_oracle import Oracle, parameters

from spotweave.exemplars.graphs import window_edges
from spotweave.networks import egn_v1, egn_v2
from spotweave.networks.correlation_loss import mse_and_correlation, pearson_by_gene
from spotweave.networks.egn_v1 import EgnV1
from spotweave.networks.egn_v2 import Edges, EgnV2

TINY_V1 = {
    **{"image_px": 24, "token_px": 8, "dim": 16, "depth": 2, "heads": 2, "head_dim": 4, "mlp_dim": 20},
    **{"bridge_heads": 3, "bridge_head_dim": 4, "feature_dim": 7},
}
TINY_V2 = {"n_layers": 2, "dim": 24, "score_dim": 12, "feature_dim": 7}


def close(found, wanted, atol):
    torch.testing.assert_close(found, wanted, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def first():
    oracle = Oracle("egn_v1")
    sizes = {"image_px": 64, "token_px": 8, "dim": 32, "depth": 2, "heads": 2, "head_dim": 8, "mlp_dim": 64}
    network = EgnV1(250, **sizes, bridge_heads=2, bridge_head_dim=8, feature_dim=24, published_grid=True)
    network.load_state_dict(egn_v1.from_published(oracle.state()))
    inputs = [oracle[f"in/{name}"] for name in ("img", "p_feature", "op_feature", "op_count")]
    return oracle, network.eval(), inputs


@torch.no_grad()
def test_the_first_version_computes_what_the_published_one_does(first):
    oracle, network, inputs = first
    seen = {}
    bridge = network.blocks[1].bridge
    hooks = [bridge.register_forward_hook(lambda *given: seen.update(bridge=given[2]))]
    hooks.append(network.pool.register_forward_hook(lambda *given: seen.update(pooled=given[2])))
    hooks.append(network.head.register_forward_pre_hook(lambda _, given: seen.update(concat=given[0])))
    close(network(*inputs), oracle["out/prediction"], 1e-5)
    for hook in hooks:
        hook.remove()
    close(network.tokens(inputs[0]), oracle["mid/patch_embedding"], 1e-5)
    for found, name in zip(network.projector(*inputs[1:]), ("query", "exemplar", "value"), strict=True):
        close(found, oracle[f"mid/projector_{name}"], 1e-5)
    for found, name in zip(seen["bridge"], ("tokens", "query", "exemplar"), strict=True):
        close(found, oracle[f"mid/bridge0_{name}"], 1e-5)
    close(seen["pooled"], oracle["mid/pooled_tokens"], 1e-5)
    close(seen["concat"], oracle["mid/pooled_concat"], 1e-5)


@torch.no_grad()
def test_the_first_version_with_constants_as_built(first):
    oracle, network, inputs = first
    plain = egn_v1.from_published(oracle.as_built())
    close(torch.func.functional_call(network, plain, tuple(inputs)), oracle["out/prediction_constants_as_built"], 1e-5)


@pytest.mark.parametrize(("name", "version"), [("egn_v1", 1), ("egn_v2", 2)])
def test_the_loss_is_the_published_one(name, version):
    oracle = Oracle(name)
    loss = mse_and_correlation(oracle["in/fixed_prediction"], oracle["in/fixed_target"])
    for found, part in zip(loss, ("total", "mse", "one_minus_pcc"), strict=True):
        close(found, oracle[f"out/fixed_loss_{part}"], 1e-6)
    target = oracle["in/target" if version == 1 else "in/window_target"]
    loss = mse_and_correlation(oracle["out/prediction"], target)
    for found, part in zip(loss, ("total", "mse", "one_minus_pcc"), strict=True):
        close(found, oracle[f"out/loss_{part}"], 1e-6)
    if version == 1:
        pearson = pearson_by_gene(oracle["in/fixed_prediction"], oracle["in/fixed_target"])
        close(pearson, oracle["out/fixed_pearson_per_gene_training"], 1e-6)


def test_the_correlation_term_is_nothing_on_rising_lines_and_finite_on_constants():
    target = torch.randn(9, 5, generator=torch.Generator().manual_seed(3))
    rising = 3 * target + torch.arange(5.0)
    assert float(mse_and_correlation(rising, target).one_minus_pcc) == pytest.approx(0, abs=1e-6)
    assert float(mse_and_correlation(-rising, target).one_minus_pcc) == pytest.approx(2, abs=1e-6)
    np.testing.assert_allclose(
        pearson_by_gene(rising + target.square(), target),
        [np.corrcoef(a, b)[0, 1] for a, b in zip((rising + target.square()).T, target.T, strict=True)],
        atol=1e-5,
    )
    constant = torch.zeros(9, 5, requires_grad=True)
    for prediction, against in ((constant, target), (constant + target.clone(), torch.zeros(9, 5))):
        mse_and_correlation(prediction, against).one_minus_pcc.backward()
        assert torch.isfinite(constant.grad).all()
    one = torch.ones(1, 5, requires_grad=True)
    mse_and_correlation(one, target[:1]).total.backward()
    assert torch.isfinite(one.grad).all()


def test_published_sizes_have_the_published_number_of_parameters():
    assert parameters(lambda: EgnV1(785)) == 135_041_329
    assert parameters(lambda: EgnV1(785, bridge_heads=16)) == 145_039_185
    assert parameters(lambda: EgnV1(250, image_px=256)) == 133_356_794
    assert parameters(lambda: EgnV2(785)) == 12_099_346
    assert parameters(lambda: EgnV2(250)) == 11_277_051


def test_the_mended_grid_takes_other_patches_and_equals_the_published_one_where_that_runs():
    with pytest.raises(ValueError, match="3 x 3 tokens, but its bridges take every patch for 8 x 8"):
        EgnV1(5, **TINY_V1, published_grid=True)
    assert EgnV1(5, **TINY_V1).blocks[1].bridge.n_tokens == 9  # the original would have gates for 64
    both = TINY_V1 | {"image_px": 64}
    shapes = [[p.shape for p in EgnV1(5, **both, published_grid=grid).parameters()] for grid in (False, True)]
    assert shapes[0] == shapes[1]


@torch.no_grad()
def test_the_order_of_exemplars_is_nothing_to_the_first_version_and_spots_do_not_meet():
    torch.manual_seed(1)
    network = EgnV1(5, 4, **TINY_V1).eval()
    images, feature = torch.randn(3, 3, 24, 24), torch.randn(3, 1, 7)
    near, known = torch.randn(3, 6, 7), torch.rand(3, 6, 5)
    predicted = network(images, feature, near, known)
    assert predicted.shape == (3, 4)
    order = torch.randperm(6)
    close(network(images, feature, near[:, order], known[:, order]), predicted, 1e-5)
    close(network(images[1:2], feature[1:2], near[1:2], known[1:2]), predicted[1:2], 1e-5)
    assert (network(images, feature, near, known.flip(0)) - predicted).abs().max() > 1e-3


@pytest.fixture(scope="module")
def second():
    oracle = Oracle("egn_v2")
    names = ("window_window", "exemplar_to_window", "exemplar_exemplar")
    edges = Edges(*(oracle[f"in/edges_{name}"].long() for name in names))
    sizes = {"n_layers": 2, "feature_dim": oracle["in/window_features"].shape[1]}
    networks = [EgnV2(250, **sizes, published_slice=published) for published in (True, False)]
    for network in networks:
        network.load_state_dict(egn_v2.from_published(oracle.state()))
    inputs = [oracle[f"in/{name}"] for name in ("window_features", "exemplar_features", "exemplar_expression")]
    return oracle, networks, [*inputs, edges]


@torch.no_grad()
def test_the_second_version_computes_what_the_published_one_does(second):
    oracle, (network, _), inputs = second
    layers, bridges, pooled = [], [], []
    hooks = [layer.register_forward_hook(lambda *given: layers.append(given[2])) for layer in network.layers]
    hooks.append(network.layers[0].bridge.register_forward_hook(lambda *given: bridges.extend(given[2])))
    hooks.append(network.pool.register_forward_hook(lambda *given: pooled.append(given[2])))
    close(network(*inputs), oracle["out/prediction"], 2e-5)
    for hook in hooks:
        hook.remove()
    entered = network.entered(*inputs[:3])
    names = ("window_transformed", "exemplar_transformed", "exemplar_y_linear")
    for found, name in zip(
        (*entered, *bridges, *layers[0], *layers[1], *pooled),
        (
            *names,
            *("bridge0_exemplar", "bridge0_window"),
            *(f"layer{n}_{kind}_before_activation" for n in (0, 1) for kind in ("window", "example")),
            "pooled",
        ),
        strict=True,
    ):
        close(found, oracle[f"mid/{name}"], 2e-5)
    other = [*inputs[:2], oracle["in/exemplar_expression_other"], inputs[3]]
    close(network(*other), oracle["out/prediction_other_expression"], 2e-5)
    plain = egn_v2.from_published(oracle.as_built())
    close(torch.func.functional_call(network, plain, tuple(inputs)), oracle["out/prediction_constants_as_built"], 2e-5)


@torch.no_grad()
def test_only_the_mended_second_version_reads_the_expression_of_exemplars(second):
    oracle, networks, inputs = second
    published, mended = (network(*inputs) for network in networks)
    assert (published - mended).abs().max() == pytest.approx(0.83, abs=0.01)  # as its page has measured it
    moved = []
    for network in networks:
        weight = network.exemplar_in.weight.clone()
        weight[:, inputs[0].shape[1] :] = 0
        deaf = {"exemplar_in.weight": weight}
        other = (*inputs[:2], oracle["in/exemplar_expression_other"], inputs[3])
        found = [torch.func.functional_call(network, deaf, tuple(given)) for given in (inputs, other)]
        moved.append(float((found[0] - found[1]).abs().max()))
        if network.published_slice:
            close(found[0], oracle["out/prediction_expression_columns_zero"], 2e-5)
    assert moved[0] == 0
    assert moved[1] > 0.1


@torch.no_grad()
@pytest.mark.parametrize(("published", "reads"), [(True, False), (False, True)])
def test_bridges_read_expression_by_a_way_of_their_own(published, reads):
    torch.manual_seed(3)
    network = EgnV2(5, **TINY_V2, published_slice=published)
    network.exemplar_in.weight[:, 7:] = 0  # as a node, an exemplar says nothing of its expression
    edges = Edges(torch.tensor([[0], [1]]), torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0], [1]]))
    features = torch.randn(2, 7), torch.randn(2, 7)
    moved = network(*features, torch.zeros(2, 5), edges) - network(*features, torch.ones(2, 5), edges)
    assert bool(moved.abs().max() > 1e-4) == reads


def test_more_genes_than_channels_run_only_where_mended():
    EgnV2(25, **TINY_V2)
    with pytest.raises(ValueError, match="25 genes, but it reads their expression from 24 hidden channels"):
        EgnV2(25, **TINY_V2, published_slice=True)
    with pytest.raises(ValueError, match="do not divide"):
        EgnV2(25, n_layers=1, dim=20, score_dim=7, feature_dim=7)


@torch.no_grad()
def test_numbers_of_nodes_are_nothing_to_the_second_version():
    torch.manual_seed(2)
    network = EgnV2(5, 3, **TINY_V2).eval()
    n, m = 11, 6
    windows = torch.from_numpy(window_edges(np.stack([np.arange(n) % 4, np.arange(n) // 4], axis=1)))
    edges = Edges(windows, torch.randint(m, (2, 20)), torch.randint(m, (2, 12)))
    edges.exemplars_to_windows[1] = torch.arange(20) % (n - 1)  # one window has no exemplar
    given = torch.randn(n, 7), torch.randn(m, 7), torch.rand(m, 5)
    predicted = network(*given, edges)
    assert predicted.shape == (n, 3)
    assert torch.isfinite(predicted).all()
    at, of = torch.randperm(n), torch.randperm(m)
    new_at, new_of = at.argsort(), of.argsort()
    moved = Edges(
        new_at[edges.windows],
        torch.stack([new_of[edges.exemplars_to_windows[0]], new_at[edges.exemplars_to_windows[1]]]),
        new_of[edges.exemplars],
    )
    close(network(given[0][at], given[1][of], given[2][of], moved), predicted[at], 1e-5)


def test_a_name_that_is_not_of_the_published_network_is_named():
    with pytest.raises(KeyError, match="mlp_headless"):
        egn_v1.from_published({"mlp_headless.0.weight": torch.zeros(1)})
