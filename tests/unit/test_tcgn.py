"""TCGN against the published code's numbers, and graph convolutions against their definition written out."""

import math

import numpy as np
import pytest
import torch
from method_oracle import Oracle, parameters, relative

from spotweave.methods.tcgn import PRESETS, SIZES
from spotweave.networks import patch_graph, tcgn
from spotweave.networks.censnet import CensNet, EdgeConvolution, Graph, NodeConvolution
from spotweave.networks.cmt import to_maps
from spotweave.networks.patch_graph import PatchGraph, edge_features, strongest
from spotweave.networks.tcgn import TCGN

ABSOLUTE, SHARE = 5e-5, 5e-5  # of predictions, and of the largest magnitude elsewhere: the numbers' description
SMALL = {"side": 64, "stem": 3, "dims": (4, 6, 8, 12), "depths": (1, 1, 2, 1), "heads": (1, 2, 2, 3), "head_dim": 5}
SMALL |= {"ratios": (2,) * 4}
DEFECTS = {"reversed_edges": True, "lost_gelu": True, "guarded": False}
LISTENERS, HEARD = ([0, 1, 2, 2], [1, 0, 2, 0])  # node 2 hears itself and 0; nobody hears anything of 3


@pytest.fixture(scope="module")
def published():
    oracle = Oracle("tcgn")
    state = tcgn.from_published(oracle.state())
    state = {name: value.long() if "num_batches" in name else value for name, value in state.items()}

    def build(**defects):
        sizes = {"stem": 6, "dims": (8, 12, 16, 24), "depths": (1, 1, 2, 1), "heads": (1, 2, 2, 4), "head_dim": 16}
        network = TCGN(12, **sizes, ratios=(2,) * 4, **defects)
        network.load_state_dict(state)
        return network.eval()

    return oracle, build


def test_published_numbers_of_parameters():
    preset = PRESETS["published"]
    assert parameters(lambda: TCGN(785)) == 22_547_073
    assert parameters(lambda: TCGN(785, side=preset["size_px"], **{name: preset[name] for name in SIZES})) == 28_660_769


@torch.inference_mode()
def test_tcgn_computes_what_the_published_one_does(published):
    oracle, build = published
    images, network = oracle["in/images"], build(**DEFECTS)
    for name, rows in (("pair", [0, 1]), ("triple_first_second_second", [0, 1, 1])):
        assert (network(images[rows]) - oracle[f"out/prediction_{name}"]).abs().max() < ABSOLUTE
    maps = to_maps(network.stages[0](network.stem(images)))
    for stage, graph in enumerate(network.graphs):
        if stage:
            maps = to_maps(network.stages[stage](maps))
        front = f"mid/first_alone/graph{stage}_"
        attention, values = graph.attended(maps[:1])
        edges = strongest(attention.mean(dim=1), 784)
        assert torch.equal(edges.float(), oracle[front + "edge_list"])
        assert relative(edge_features(attention, values, edges, 14), oracle[front + "edge_features"]) < SHARE
        ends = oracle[front + "incidence_endpoints"].long()
        columns = torch.nn.functional.one_hot(ends, 196).sum(dim=2).float()
        nodes, _, made = graph.learned(maps[:1])
        assert torch.equal(made.incidence, columns)
        assert relative(nodes, oracle[front + "nodes"]) < SHARE
        assert relative(graph(maps[:1]), oracle[front + "output"]) < SHARE
        assert relative(graph(maps), oracle[f"mid/pair/graph{stage}_output"]) < SHARE
    assert relative(network.pooled(images), oracle["mid/pair/pooled"]) < SHARE


@torch.inference_mode()
def test_an_image_has_its_own_graph_in_every_batch(published):
    oracle, build = published
    images = oracle["in/images"]
    alone = torch.cat([oracle[f"out/prediction_{which}_alone"] for which in ("first", "second")])
    mended, old = build(lost_gelu=True), build(**DEFECTS)
    assert (mended(images.flip(0)).flip(0) - alone).abs().max() < ABSOLUTE
    moved = (old(images) - alone).abs().amax(dim=1)
    np.testing.assert_allclose(moved, [0.108, 0.193], atol=5e-4)
    # The GELU that is computed and not used: by as much again.
    assert 0.05 < (build()(images[:1]) - alone[:1]).abs().max() < 0.2


@pytest.mark.parametrize("batch", [2, 5])
def test_predictions_do_not_depend_on_batch_mates(batch):
    torch.manual_seed(3)
    network = TCGN(7, **SMALL).eval()
    for graph in network.graphs:
        torch.nn.init.normal_(graph.halvings[-1][-1].scale)
    images = torch.randn(batch, 3, 64, 64)
    with torch.inference_mode():
        together = network(images)
        single = torch.cat([network(image[None]) for image in images])
        assert torch.allclose(together, single, atol=1e-5)
        old = TCGN(7, **SMALL, reversed_edges=True).eval()
        old.load_state_dict(network.state_dict())
        assert not torch.allclose(old(images)[0], single[0], atol=1e-5)
    network.train()(images).sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in network.parameters() if value.grad is not None)


# --- edges ----------------------------------------------------------------------------------------


def test_an_image_has_four_edges_a_node_also_where_all_are_alike():
    edges = strongest(torch.full((2, 16, 16), 0.25), 64)
    assert edges.shape == (2, 64, 2)
    assert torch.equal(edges[0], edges[1])
    assert edges[0].unique(dim=0).shape == (64, 2)
    assert edges[0, -1].tolist() == [3, 15]  # of equal ones the first
    attention = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(0))
    chosen = attention[0][tuple(strongest(attention, 11)[0].T)]
    assert sorted(chosen.tolist(), reverse=True) == attention.flatten().sort(descending=True).values[:11].tolist()


def test_what_tells_of_an_edge_by_hand():
    attention = torch.arange(32.0).reshape(1, 2, 4, 4)
    values = torch.tensor([[[1.0, 0, 0], [0, 2, 0], [3, 0, 0], [0, 0, 1]]])
    found = edge_features(attention, values, torch.tensor([[[0, 3], [2, 0], [1, 1]]]), 2)[0]
    # On a grid of 2: 0 and 3 lie across, 2 below 0. Three features: distances by 3 // 2 = 1.
    wanted = [
        [3, 19, 11, 1 / (1 + math.sqrt(2) / 3), 1 / math.sqrt(3), 0.5],
        [8, 24, 16, 1 / (1 + 1 / 3), 1 / math.sqrt(5), 1],
        [5, 21, 13, 1, 1, 1],
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


# --- graph convolutions ---------------------------------------------------------------------------


def small_graph(guarded=True):
    return Graph.of(torch.tensor([list(zip(LISTENERS, HEARD, strict=True))]), 4, guarded=guarded)


def test_a_graph_by_hand():
    graph = small_graph()
    assert graph.incidence[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0], [1, 0, 1, 0]]
    half = 0.5**0.5
    wanted = [[0, 1, 0, 0], [1, 0, 0, 0], [half, 0, 0.5, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(graph.adjacency[0], wanted, atol=1e-6)
    shares = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], float)
    scale = (shares.sum(axis=1) + 1) ** -0.5
    np.testing.assert_allclose(graph.sharing[0], scale[:, None] * shares * scale, atol=1e-6)


@pytest.mark.parametrize("lost_gelu", [True, False])
def test_convolutions_are_their_sums_written_out(lost_gelu):
    torch.manual_seed(4)
    graph, nodes, edges = small_graph(), torch.randn(1, 4, 3), torch.randn(1, 4, 2)
    finish = (lambda value: value) if lost_gelu else torch.nn.functional.gelu
    ends = graph.incidence[0]
    for kind, own, others, near, meet in (
        (NodeConvolution(3, 5, 2, lost_gelu=lost_gelu), nodes[0], edges[0], graph.adjacency[0], ends),
        (EdgeConvolution(2, 5, 3, lost_gelu=lost_gelu), edges[0], nodes[0], graph.sharing[0], ends.T),
    ):
        weights = torch.zeros(4, 4)
        for a in range(4):
            for b in range(4):
                through = sum(meet[k, a] * meet[k, b] * (others[k] @ kind.score[0]) for k in range(4))
                weights[a, b] = near[a, b] * (1 if a == b else through)
        if isinstance(kind, EdgeConvolution):
            weights = weights / weights.max(dim=0).values
        wanted = finish(weights @ own @ kind.weight + kind.bias)
        found = kind(own[None], others[None], graph)[0]
        assert torch.allclose(found, wanted, atol=1e-5)


def test_a_node_that_hears_none_ends_the_published_image_and_no_mended_one():
    torch.manual_seed(5)
    network = CensNet(3, 2, 4, 6, dropout=0.0, lost_gelu=False)
    nodes, edges = torch.randn(1, 4, 3), torch.randn(1, 4, 2)
    for guarded in (True, False):
        found = torch.cat([one.flatten() for one in network(nodes, edges, small_graph(guarded))])
        assert bool(torch.isfinite(found).all()) == guarded


def test_a_square_whose_attention_is_spread_out_ends_the_published_image_and_no_mended_one():
    torch.manual_seed(6)
    attention = torch.zeros(1, 2, 16, 16)
    attention[:, :, 0] = 1 / 16
    for row in range(1, 16):  # 75 pairs stronger than any of the first row
        attention[:, :, row, [(row + step) % 16 for step in range(5)]] = 1 / 5
    for guarded in (True, False):
        graph = PatchGraph(4, 4, 1, guarded=guarded).eval()
        graph.attended = lambda maps: (attention, maps.flatten(2).transpose(1, 2)[:, :16])
        assert bool(torch.isfinite(graph(torch.randn(1, 8, 4, 4))).all()) == guarded


# --- attention ------------------------------------------------------------------------------------


def test_attention_of_a_graph_sums_to_one_and_favours_itself():
    torch.manual_seed(7)
    graph = PatchGraph(4, 4, 2)
    with torch.no_grad():
        graph.q.weight.zero_()
        graph.q.bias.zero_()
    attention, values = graph.attended(torch.randn(3, 4, 16, 16))
    assert attention.shape == (3, 2, 16, 16) and values.shape == (3, 16, 8)
    assert torch.allclose(attention.sum(dim=3), torch.ones(3, 2, 16))
    # Without a question a square attends to itself e times as much as to another.
    assert torch.allclose(attention[0, 0], (torch.eye(16) * (math.e - 1) + 1) / (math.e + 15), atol=1e-6)


def test_channels_of_equal_scores_take_the_mean_of_all():
    torch.manual_seed(8)
    tokens = torch.randn(2, 5, 8)
    plain = patch_graph.TokenTransformer(8, 4)
    with torch.no_grad():
        for layer in (plain.narrow, plain.qkv):
            layer.weight.zero_()
            layer.bias.zero_()
        plain.qkv.weight[2::3] = torch.eye(8)  # every third is a value
    wanted = tokens + plain.norm1(tokens).mean(dim=1, keepdim=True)
    assert torch.allclose(plain(tokens), wanted, atol=1e-6)
    plain.itself = True
    towards = torch.eye(5) / 8**0.5
    wanted = tokens + towards.softmax(dim=1) @ plain.norm1(tokens)
    assert torch.allclose(plain(tokens), wanted, atol=1e-6)


def test_patches_of_another_size_are_refused_in_one_line():
    with pytest.raises(ValueError, match="patches of 48 px, allowed: a multiple of 32"):
        TCGN(2, side=48)
    with pytest.raises(ValueError, match="patches of 64 x 96 px, allowed: 64 x 64"):
        TCGN(2, **SMALL)(torch.zeros(1, 3, 64, 96))
