"""ST-Net, HisToGene, Hist2ST and THItoGene against the published code's numbers, closed forms and their symmetries."""

import itertools

import numpy as np
import pytest
import torch
from learned import pictured
from method_oracle import Oracle, parameters, relative
from scipy.stats import nbinom

from spotweave.learning import patchwise
from spotweave.learning.array_places import places_of, steps_of
from spotweave.learning.sectionwise import _pieces
from spotweave.methods import CannotPredict
from spotweave.networks import capsules, hist2st, histogene, thitogene
from spotweave.networks.deep_pt import DeepPT
from spotweave.networks.deep_space import DeepSpace, not_white
from spotweave.networks.dynamic_conv import DynamicConv
from spotweave.networks.graph_attention import GraphAttention
from spotweave.networks.hist2st import Hist2ST, MeanOfNeighbours, mixture, zinb_loss
from spotweave.networks.histogene import HisToGene
from spotweave.networks.places import PlaceEmbedding, neighbour_matrix
from spotweave.networks.st_net import st_net, start_from_mean, summed_squares
from spotweave.networks.thitogene import THItoGene

OUTPUT, GRADIENT = 1e-5, 1e-4  # of the largest magnitude, as the numbers' description has it


def loaded(network, state):
    network.load_state_dict({name: value.long() if "num_batches" in name else value for name, value in state.items()})
    return network.eval()


def test_published_numbers_of_parameters():
    side = 3 * 224**2
    small = 3 * 112**2
    assert [parameters(lambda genes=genes: st_net(genes)) for genes in (785, 250)] == [7_758_481, 7_210_106]
    assert parameters(lambda: HisToGene(785, pixels=side)) == 222_253_841
    assert parameters(lambda: HisToGene(785, pixels=small)) == 106_648_337
    assert parameters(lambda: HisToGene(785, pixels=small, layers=4)) == 73_061_137
    assert parameters(lambda: HisToGene(171, pixels=small)) == 106_018_987
    assert parameters(lambda: Hist2ST(785)) == 229_154_567
    assert parameters(lambda: Hist2ST(785, side=112, channels=32)) == 75_789_833
    assert parameters(lambda: THItoGene(785)) == 63_586_712
    assert parameters(lambda: DeepPT(785)) == 26_273_105
    assert [parameters(lambda genes=genes: DeepSpace(genes)) for genes in (785, 24)] == [137_476_689, 134_358_872]


# --- ST-Net ---------------------------------------------------------------------------------------


def test_st_net_trains_as_the_published_one_does():
    oracle = Oracle("stnet_core")
    targets = oracle["out/target_norm_log_train"]
    train, test = (oracle[f"in/images_{side}"].permute(0, 3, 1, 2) for side in ("train", "test"))
    network = st_net(targets.shape[1], growth=4, blocks=(2, 2), first=8, bottleneck=2)
    missing = network.load_state_dict(oracle.state(), strict=False)
    assert not missing.unexpected_keys
    start_from_mean(network, targets)
    whole = patchwise.Normalised(network, *patchwise._input("measured", train))
    assert torch.allclose(whole.mean.flatten(), oracle["mid/input_mean"], atol=1e-6)
    assert torch.allclose(whole.std.flatten(), oracle["mid/input_std"], atol=1e-6)
    settings = {"batch": len(train), "augment": False, "symmetries": True}
    optimiser = torch.optim.SGD(whole.parameters(), lr=2e-2, momentum=0.9)
    before = patchwise.predicted(whole, test, settings)
    np.testing.assert_allclose(before, targets.mean(dim=0).expand(len(test), -1), atol=1e-6)
    for epoch, loss in enumerate(oracle["out/loss_train"].tolist()):
        whole.train()
        generator, varies = torch.Generator().manual_seed(epoch), torch.ones(targets.shape[1], dtype=torch.bool)
        found = patchwise.one_epoch(whole, train, targets, summed_squares, optimiser, settings, generator, varies)
        assert found == pytest.approx(loss, abs=1e-6)
        np.testing.assert_allclose(
            patchwise.predicted(whole, test, settings), oracle["out/predictions_test"][epoch], atol=5e-6
        )
    turned = patchwise.predicted(whole, torch.rot90(test, 1, dims=(2, 3)).flip(3), settings)
    np.testing.assert_allclose(turned, patchwise.predicted(whole, test, settings), atol=1e-5)


# --- DeepPT and DeepSpaCE -------------------------------------------------------------------------


def test_the_code_of_deep_pt_is_what_its_decoder_makes_the_features_of():
    torch.manual_seed(0)
    network = DeepPT(4, layers=(1, 1, 1, 1), width=4, code=16, hidden=8, dropout=0.0).eval()
    images = torch.rand(5, 3, 32, 32)
    found = network(images)
    features = network.trunk(images)
    code = torch.relu(network.encoder(features))
    assert code.shape == (5, 16) and torch.allclose(network.head(code), found)
    assert float(network.reconstruction.detach()) == pytest.approx(
        float(((network.decoder(code) - features) ** 2).mean().detach())
    )


def test_patches_that_are_mostly_white_teach_nothing():
    dark, half, white = (torch.full((1, 3, 10, 10), value, dtype=torch.uint8) for value in (90, 90, 250))
    half[:, :, :5] = 250  # half of it, and not more
    mixed = torch.cat([dark] * 7 + [half, white, white])
    assert not_white(mixed).tolist() == [True] * 8 + [False] * 2
    pink = white.clone()
    pink[:, 1] = 40  # bright in two channels of three
    assert not_white(torch.cat([dark] * 8 + [pink, white])).tolist() == [True] * 9 + [False]


# --- HisToGene ------------------------------------------------------------------------------------


def test_histogene_computes_what_the_published_one_does():
    oracle = Oracle("histogene")
    network = HisToGene(7, pixels=768, dim=24, layers=2, dropout=0.0)
    loaded(network, histogene.from_published(oracle.state()))
    patches, grid = oracle["in/patches"].float(), oracle["in/positions"].long()
    found = network(patches, grid)
    assert relative(found, oracle["out/pred"]) < OUTPUT
    assert relative(network(patches, grid.flip(2)), oracle["out/pred_swapped_xy"]) < OUTPUT
    loss = ((found - oracle["in/expression"]) ** 2).mean()
    assert float(loss.detach()) == pytest.approx(float(oracle["out/mse_loss"]), rel=1e-5)
    loss.backward()
    for name, parameter in (
        ("patch_embedding.bias", network.embed.bias),
        ("y_embed.weight", network.place.y.weight),
        ("vit.transformer.layers.0.0.fn.to_out.0.bias", network.blocks[0].attention.to_out.bias),
        ("gene_head.0.weight", network.head[0].weight),
    ):
        assert relative(parameter.grad, oracle[f"out/grad/{name}"]) < GRADIENT


def test_pictures_are_flattened_x_first_and_the_channel_last():
    images = torch.arange(3 * 4 * 5).reshape(1, 3, 4, 5)  # channel, y, x
    flat = histogene.flattened(images)[0].reshape(5, 4, 3)
    assert flat[2, 1, 0] == images[0, 0, 1, 2] and flat[4, 3, 2] == images[0, 2, 3, 4]


def test_the_order_of_spots_does_not_matter_and_their_places_do():
    torch.manual_seed(0)
    network = HisToGene(3, pixels=48, dim=16, layers=2, heads=2, places=9).eval()
    patches, grid = torch.rand(1, 11, 48), torch.randint(9, (1, 11, 2))
    order = torch.randperm(11)
    found = network(patches, grid)
    assert relative(network(patches[:, order], grid[:, order]), found[:, order]) < 1e-5
    assert not torch.allclose(network(patches, (grid + 1) % 9), found)
    with pytest.raises(ValueError, match="array places 0 to 9, allowed: 0 to 8"):
        network(patches, torch.tensor([[[0, 9]] * 11]))


# --- Hist2ST --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_hist2st():
    oracle = Oracle("hist2st")
    sizes = {"side": 28, "patch": 7, "channels": 16, "kernel": 5, "mixers": 2, "blocks": 2, "steps": 3, "heads": 4}

    def build(guarded):
        network = Hist2ST(9, **sizes, dropout=0.0, guarded=guarded)
        return loaded(network, hist2st.from_published(oracle.state()))

    section = oracle["in/patches"][0].float(), oracle["in/positions"][0].long()
    return oracle, build, section


@pytest.mark.parametrize("mode", ["eval", "train_nodrop"])
def test_hist2st_computes_and_learns_what_the_published_one_does(published_hist2st, mode):
    oracle, build, section = published_hist2st
    network = build(guarded=False).train(mode != "eval")
    neighbours = oracle["in/adjacency"]
    said = network(*section, neighbours)
    looks = [network(copy.float(), section[1], neighbours) for copy in oracle["in/aug_patches"]]
    if mode == "eval":
        wanted = {
            "pred": said.expression,
            "zinb_mean": said.mean,
            "zinb_disp": said.dispersion,
            "zinb_pi": said.dropout,
        }
        wanted["aug_pred"] = torch.stack([look.expression for look in looks])
        wanted["aug_score"] = torch.stack([look.weight for look in looks])
        wanted["distilled_pred"] = mixture(looks)
        for name, found in wanted.items():
            assert relative(found, oracle[f"out/{name}"]) < OUTPUT
    mse = ((said.expression - oracle["in/expression"][0]) ** 2).mean()
    counts, factors = oracle["in/counts"][0], oracle["in/size_factors"][0]
    zinb = zinb_loss(counts, said.mean, said.dispersion, said.dropout, factors)
    distilled = ((mixture(looks) - said.expression) ** 2).mean()
    for name, found in (("mse", mse), ("zinb", zinb), ("bake", distilled)):
        assert float(found.detach()) == pytest.approx(float(oracle[f"out/{mode}/{name}_loss"]), rel=1e-5)
    (mse + 0.25 * zinb + 0.5 * distilled).backward()
    for name, parameter in (
        ("patch_embedding.bias", network.embed.bias),
        ("x_embed.weight", network.place.x.weight),
        ("vit.transformer.layer3.0.weight", network.steps[0].weight),
        ("gene_head.1.bias", network.head[1].bias),
        ("coef.2.weight", network.score[2].weight),
        ("pi.0.bias", network.zero.bias),
        ("disp.0.bias", network.dispersion.bias),
        ("mean.0.bias", network.mean.bias),
        ("vit.transformer.jknet.0.bias_hh_l1", network.jump.bias_hh_l1),
    ):
        assert relative(parameter.grad, oracle[f"out/{mode}/grad/{name}"]) < GRADIENT
    if mode != "eval":  # running statistics have moved once for each look
        norm, name = network.mixers[0].within[1], "out/train_nodrop/after/vit.transformer.layer1.0.dw.1"
        assert relative(norm.running_mean, oracle[f"{name}.running_mean"]) < OUTPUT
        assert relative(norm.running_var, oracle[f"{name}.running_var"]) < OUTPUT


def test_one_spot_without_neighbours_ends_the_published_section_and_no_mended_one(published_hist2st):
    oracle, build, section = published_hist2st
    alone = oracle["in/adjacency_isolated"]
    assert torch.equal(
        torch.isnan(build(guarded=False)(*section, alone).expression).float(), oracle["out/isolated_isnan"]
    )
    assert torch.isfinite(build(guarded=True)(*section, alone).expression).all()
    # Where every spot has neighbours, the guard changes nothing.
    found = build(guarded=True)(*section, oracle["in/adjacency"]).expression
    assert relative(found, oracle["out/pred"]) < OUTPUT


def test_neighbours_are_those_of_the_published_code_where_distances_differ(published_hist2st):
    oracle, _, _ = published_hist2st
    grid = oracle["in/positions"][0].numpy()
    assert np.array_equal(neighbour_matrix(grid, reach=2, self_loops=False), oracle["in/adjacency"])
    assert np.array_equal(neighbour_matrix(grid, reach=None, self_loops=False), oracle["in/adjacency_unpruned"])
    assert np.array_equal(
        neighbour_matrix(grid, reach=None, self_loops=True), oracle["in/adjacency_unpruned"].numpy() + np.eye(len(grid))
    )


def test_neighbours_of_a_regular_array_do_not_hang_on_the_order_of_spots():
    grid = np.array([(x, y) for x in range(6) for y in range(5)])
    found = neighbour_matrix(grid, reach=2, self_loops=False)
    order = np.random.default_rng(0).permutation(len(grid))
    assert np.array_equal(neighbour_matrix(grid[order], reach=2, self_loops=False), found[np.ix_(order, order)])
    inner = (grid > 0).all(axis=1) & (grid < [5, 4]).all(axis=1)
    steps = np.abs(grid[:, None] - grid[None]).sum(axis=2)
    assert np.array_equal(found[inner] > 0, steps[inner] == 1)
    assert neighbour_matrix(grid[:1], reach=None, self_loops=False).tolist() == [[0]]


def test_the_likelihood_of_counts_is_scipys_and_the_published_one(published_hist2st):
    grid = published_hist2st[0]["in/zinb_grid"].double()
    wanted = published_hist2st[0]["out/zinb_grid_nll_run_in_float64"]
    found = torch.stack([zinb_loss(*(row[n].reshape(1, 1) for n in range(4)), row[4:]) for row in grid])
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    counts, mean, dispersion, dropout = np.array([[0, 1, 7], [3, 0, 40]]), 2.5, 1.7, 0.2
    factors = np.array([0.5, 2.0])
    scaled = mean * factors[:, None]
    likely = nbinom.pmf(counts, dispersion, dispersion / (dispersion + scaled)) * (1 - dropout) + dropout * (
        counts == 0
    )
    like = torch.ones(2, 3, dtype=torch.float64)
    given = torch.from_numpy(counts).double(), like * mean, like * dispersion, like * dropout
    found = zinb_loss(*given, torch.from_numpy(factors))
    assert float(found) == pytest.approx(-np.log(likely).mean(), abs=1e-8)


def test_gradients_of_the_likelihood_are_finite_at_its_ends():
    for dropout in (0.0, 1.0):
        given = [torch.tensor([[value]], requires_grad=True) for value in (1e-5, 1e-4, dropout)]
        zinb_loss(torch.zeros(1, 1), *given, torch.ones(1)).backward()
        assert all(torch.isfinite(one.grad).all() for one in given)


def test_a_spot_hears_the_mean_of_its_neighbours():
    step = MeanOfNeighbours(2, guarded=True)
    step.weight.data = torch.eye(2)
    spots = torch.tensor([[3.0, 0.0], [0.0, 4.0], [6.0, 8.0]])
    neighbours = torch.tensor([[0.0, 1, 1], [0, 0, 0], [1, 0, 0]])
    heard = step(spots, neighbours).detach()
    np.testing.assert_allclose(heard, [[3 / 45**0.5, 6 / 45**0.5], [0, 0], [1, 0]], atol=1e-6)


# --- THItoGene ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_thitogene():
    oracle = Oracle("thitogene")
    sizes = {"capsules": 4, "width": 8, "layers": 2, "heads": 2, "feed": 40, "graph_heads": 2}

    def build(published):
        network = THItoGene(6, **sizes, dropout=0.0, published=published)
        return loaded(network, thitogene.from_published(oracle.state()))

    section = oracle["in/patches"][0].float(), oracle["in/positions"][0].long(), oracle["in/adjacency"]
    return oracle, build, section


def test_thitogene_computes_and_learns_what_the_published_one_does(published_thitogene):
    oracle, build, (patches, grid, neighbours) = published_thitogene
    network = build(published=True)
    found = network(patches, grid, neighbours)
    assert relative(found, oracle["out/pred"]) < OUTPUT
    loss = ((found - oracle["in/expression"][0]) ** 2).mean()
    assert float(loss.detach()) == pytest.approx(float(oracle["out/eval/mse_loss"]), rel=1e-5)
    loss.backward()
    for name, parameter in (
        ("odconv2d.attention.fc.weight", network.stem.squeeze.weight),
        ("caps_layer.digit_caps.b", network.routed.prior),
        ("x_embed.weight", network.place.x.weight),
        ("gat.attention_1.a", network.attention[1].score),
        ("gat.out_att.a", network.gathered.score),
        ("caps_layer.conv1.bias", network.convolutions[0].bias),
        ("gene_head.3.bias", network.head[3].bias),
    ):
        assert relative(parameter.grad, oracle[f"out/eval/grad/{name}"]) < GRADIENT
    trained = build(published=True).train()
    loss = ((trained(patches, grid, neighbours) - oracle["in/expression"][0]) ** 2).mean()
    assert float(loss.detach()) == pytest.approx(float(oracle["out/train_nodrop/mse_loss"]), rel=1e-5)
    after = oracle["out/train_nodrop/after/caps_layer.batch_norm4.running_var"]
    assert relative(trained.norms[3].running_var, after) < OUTPUT


def test_attention_over_neighbours_is_the_published_code_without_its_axis_off_by_one(published_thitogene):
    oracle, build, section = published_thitogene
    mended = build(published=False)(*section)
    assert relative(mended, oracle["out/pred_2d_adjacency"]) < OUTPUT
    assert relative(mended, oracle["out/pred"][0]) > 0.1


def test_capsules_are_shorter_than_one_and_long_ones_keep_a_gradient(published_thitogene):
    oracle, _, _ = published_thitogene
    for name in ("squash", "squash_large"):
        for guarded in (True, False):
            found = capsules.squash(oracle[f"in/{name}_in"], guarded=guarded)
            assert relative(found, oracle[f"out/{name}_out"]) < 1e-6
            assert (found.norm(dim=-1) <= 1 + 1e-6).all()
    for guarded, wanted in ((True, torch.zeros(3, 5)), (False, oracle["out/squash_large_grad_isnan"])):
        vectors = oracle["in/squash_large_in"].clone().requires_grad_()
        capsules.squash(vectors, guarded=guarded).sum().backward()
        assert torch.equal(torch.isnan(vectors.grad).float(), wanted)
    nothing = torch.zeros(1, 5, requires_grad=True)
    capsules.squash(nothing).sum().backward()
    assert torch.isfinite(nothing.grad).all()


def test_weights_of_attention_sum_to_one_over_neighbours_or_over_listeners():
    torch.manual_seed(1)
    neighbours = torch.tensor([[0.0, 1, 1], [1, 0, 0], [0, 1, 0]])
    ones = torch.ones(3, 4)
    over = {flag: GraphAttention(4, 5, 0.0, over_receivers=flag) for flag in (True, False)}
    over[True].load_state_dict(over[False].state_dict())
    mapped = ones @ over[False].weight
    # Equal spots: whoever is listened to, the mean is the same if a row's weights sum to 1.
    assert torch.allclose(over[False](ones, neighbours), mapped, atol=1e-6)
    # Column sums of 1: the first column has one listener, the second two alike, the third one.
    shares = torch.tensor([[0.5 + 1], [1.0], [0.5]])
    assert torch.allclose(over[True](ones, neighbours), shares * mapped, atol=1e-6)


def test_patches_of_another_size_are_refused_in_one_line():
    network = THItoGene(2, side=48, capsules=2, width=4, layers=1, heads=1, feed=8, graph_heads=1, graph_dim=4)
    with pytest.raises(ValueError, match="patches of 50 x 48 px, allowed: 48 x 48"):
        network(torch.zeros(1, 3, 50, 48), torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 1))
    with pytest.raises(ValueError, match="patches of 40 px are too small"):
        THItoGene(2, side=40)


def test_a_dynamic_convolution_of_equal_weights_is_a_plain_one():
    torch.manual_seed(2)
    conv = DynamicConv(3, 5, 4, 4, 6).eval()
    for layer in (conv.to_channels, conv.to_filters, conv.to_places, conv.to_kernels):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    images = torch.rand(2, 3, 12, 8)
    plain = torch.nn.functional.conv2d(images * 0.5, conv.weight.mean(dim=0) * 0.5, stride=4) * 0.5
    assert torch.allclose(conv(images), plain, atol=1e-5)


# --- places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1.0, 0.69, 290.0])
def test_places_on_an_array_are_whole_steps_whatever_the_unit_and_the_noise(unit):
    grid = np.array([(x, y) for x in range(9) for y in range(4)])[np.random.default_rng(1).permutation(36)]
    noise = np.random.default_rng(2).uniform(-0.05, 0.05, grid.shape)
    steps = steps_of((grid + noise + 70) * unit)
    assert np.array_equal(places_of(steps, 64), grid)
    assert steps_of(grid[:1]).tolist() == [[0, 0]]
    assert np.isfinite(steps_of(np.zeros((3, 2)))).all()


def test_a_section_of_more_columns_than_there_are_vectors_for_is_made_to_fit():
    grid = np.array([(x, y) for x in range(128) for y in (0, 40)])
    places = places_of(steps_of(grid.astype(float)), 64)
    assert places.max() == 63 and places.min() == 0
    assert (np.diff(np.unique(places[:, 0])) == 1).all()
    embedded = PlaceEmbedding(64, 4)(torch.from_numpy(places))
    assert embedded[0].shape == (256, 4)


def test_a_large_section_is_cut_into_bands_of_neighbours_that_hold_each_spot_once(tmp_path):
    sample, _ = pictured(tmp_path, "a", 50, columns=13)
    settings = {"size_px": 8, "patch_um": None, "behaviour": "mended", "places": 32, "reach": 0, "spots_at_once": 17}
    pieces = list(_pieces(sample, settings))
    assert [len(piece.rows) for piece in pieces] == [17, 17, 16]
    assert sorted(np.concatenate([piece.rows for piece in pieces])) == list(range(50))
    # Across the longer axis, x: their columns meet in one at most.
    columns = [piece.grid[:, 0] for piece in pieces]
    assert all(after.min() >= before.max() for before, after in itertools.pairwise(columns))
    for piece in pieces:
        assert piece.images.shape == (len(piece.rows), 3, 8, 8)
        assert piece.neighbours.shape == (len(piece.rows),) * 2
        assert (piece.neighbours.diagonal() == 1).all()
    published = {**settings, "behaviour": "published", "places": 8}
    with pytest.raises(CannotPredict, match="a has 13 columns or rows, and as published it has vectors for 8"):
        list(_pieces(sample, published))
