"""iStar against numbers of the published code and closed forms."""

import numpy as np
import pytest
import torch

from real_data import real
from spotweave.networks.disks import disk_mask, disk_sums, grid_places, under_disks
from spotweave.networks.istar import (
    Ensemble,
    Range,
    Regressor,
    batch_size,
    finite_mean,
    from_published,
    median,
    spot_loss,
)
from spotweave.networks.superpixels import (
    central_disk,
    colour_statistics,
    token_network,
    tokens,
    under_central_disks,
)


@pytest.fixture(scope="module")
def arrays():
    with np.load(real("data/method_oracles/istar_core.npz")) as file:
        return {key: file[key] for key in file.files}


def group(arrays, front):
    found = {key.removeprefix(front): value for key, value in arrays.items() if key.startswith(front)}
    return {key: torch.from_numpy(value) for key, value in found.items() if value.ndim}


@pytest.fixture(scope="module")
def ensemble(arrays):
    state = group(arrays, "state/")
    members = len({name.split(".")[0] for name in state})
    network = Ensemble(members, arrays["in/embs"].shape[2], arrays["in/cnts"].shape[1])
    network.load_state_dict(from_published(state))
    return network


def under_spots(arrays):
    return under_disks(arrays["in/embs"], arrays["in/locs"], disk_mask(float(arrays["in/radius"])))


def same(found, wanted, atol=2e-6):
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=0, atol=atol)


def test_disks_and_places_are_the_published_ones(arrays):
    for key, wanted in arrays.items():
        if "/disk_" in key:
            radius, *ring = key.partition("_r")[2].removeprefix("ing_r").split("_w")
            assert (disk_mask(float(radius), *map(float, ring)) == wanted).all(), key
    shapes = tuple(arrays["in/he_shape"]), tuple(arrays["in/embs_shape"])
    assert (grid_places(arrays["in/locs_xy"], *shapes) == arrays["out/locs_ij"]).all()
    assert (grid_places(arrays["in/locs_xy"], (1, 1), (1, 1)) == arrays["out/locs_ij_noscale"]).all()
    same(under_spots(arrays)[:, :, 0], arrays["mid/patch_first_channel"], 0)
    assert disk_mask(float(arrays["in/radius"])).sum() == arrays["mid/mask_size"]


@torch.no_grad()
def test_superpixels_and_spots_are_the_published_ones(arrays, ensemble):
    grid, counts = torch.from_numpy(arrays["in/embs"]), torch.from_numpy(arrays["in/cnts"])
    mask, genes = disk_mask(float(arrays["in/radius"])), arrays["mid/gene_indices"]
    expression = Range.of(counts)
    same(expression.scaled(counts), arrays["mid/cnts_scaled"])
    superpixels = expression.of_superpixels(ensemble(grid), int(mask.sum())).numpy()
    same(superpixels[..., genes], arrays["out/superpixel"])
    same(disk_sums(superpixels, arrays["in/locs"], mask), arrays["out/spot_sum"])
    same(ensemble.latent(grid)[..., :8].permute(2, 0, 1), arrays["out/latent_median_first8"])
    some = Range(*(bound[genes] for bound in expression)).of_superpixels(ensemble(grid, genes), int(mask.sum()))
    same(some, superpixels[..., genes], 1e-6)


def test_the_loss_its_gradient_and_its_way_down_are_the_published_ones(arrays, ensemble):
    every = torch.from_numpy(under_spots(arrays))
    kept = every.isfinite().all(dim=2).all(dim=1)
    assert (arrays["in/locs"][kept] == arrays["mid/kept_locs"]).all()
    scaled = torch.from_numpy(arrays["mid/cnts_scaled"])[kept]
    member = Regressor(every.shape[2], scaled.shape[1])
    of_first = {key.removeprefix("00."): value for key, value in group(arrays, "state/").items() if key[:2] == "00"}
    member.load_state_dict(from_published(of_first))
    with torch.no_grad():
        same(member.latent(every[kept][0]), arrays["mid/latent_spot0"])
        same(member(every[kept][0]), arrays["mid/output_spot0"])
        same(member(every[kept][0], [5, 0, -1]), arrays["out/output_spot0_genes_5_0_last"])
        same(member(every[kept]).mean(dim=1), arrays["mid/spot_mean"])
    optimiser = torch.optim.Adam(member.parameters(), lr=1e-4)
    losses = []
    for step in range(len(arrays["out/adam_losses"])):
        optimiser.zero_grad()
        loss = spot_loss(member, every[kept], scaled)
        losses.append(loss.item())
        loss.backward()
        if step == 0:
            gradients = {name: parameter.grad for name, parameter in member.named_parameters()}
            for name, wanted in from_published(group(arrays, "out/loss_grad/")).items():
                same(gradients[name], wanted)
        optimiser.step()
    same(losses[0], arrays["out/loss"])
    same(losses, arrays["out/adam_losses"], 1e-5)


def test_a_spot_that_touches_unknown_superpixels_learns_from_the_others():
    torch.manual_seed(4)
    member = Regressor(3, 2, hidden=8)
    disks = torch.randn(2, 5, 3)
    whole = torch.rand(2, 2)
    holed = disks.clone()
    holed[0, 3:, 1] = torch.nan
    by_hand = ((member(disks[0, :3]).mean(dim=0) - whole[0]) ** 2 + (member(disks[1]).mean(dim=0) - whole[1]) ** 2) / 2
    loss = spot_loss(member, holed, whole)
    assert loss.item() == pytest.approx(by_hand.mean().item(), abs=1e-6)
    # Without holes nothing is mended: the published loss.
    assert spot_loss(member, disks, whole).item() == pytest.approx(
        (member(disks).mean(dim=1) - whole).square().mean().item(), abs=1e-7
    )
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in member.parameters())
    known = torch.tensor([[True, False, True]])
    assert finite_mean(torch.tensor([[[1.0], [torch.nan], [4.0]]]), known).tolist() == [[2.5]]


def test_the_smallest_batch_is_one_spot_unless_published():
    assert [batch_size(n) for n in (1, 15, 16, 100, 5000)] == [1, 1, 1, 6, 128]
    assert [batch_size(n, published=True) for n in (1, 15, 16, 100, 5000)] == [0, 0, 1, 6, 128]


def test_superpixels_sum_to_the_spot_and_stay_above_its_floor():
    random = np.random.default_rng(6)
    mask = disk_mask(2.3)
    counts = torch.from_numpy(random.integers(2, 40, size=(6, 3)).astype(np.float32))
    counts[:, 1] = 7  # constant
    bounds = Range.of(counts)
    network = Ensemble(3, 4, 3, hidden=8)
    grid = random.normal(size=(11, 14, 4)).astype(np.float32)
    places = np.array([[4, 5], [8, 3]])
    with torch.no_grad():
        scaled = network(torch.from_numpy(grid))
        shares = bounds.of_superpixels(scaled, int(mask.sum())).numpy()
        means = torch.from_numpy(under_disks(scaled.numpy(), places, mask)).mean(dim=1)
    np.testing.assert_allclose(disk_sums(shares, places, mask), bounds.of_spots(means), rtol=1e-5)
    assert (shares >= (bounds.low / mask.sum()).numpy() - 1e-6).all()
    np.testing.assert_allclose(disk_sums(shares, places, mask)[:, 1], 7, rtol=1e-5)
    assert np.isnan(disk_sums(shares, np.array([[1, 5]]), mask)).all()  # reaches beyond the grid
    assert (mask == mask.T).all()
    assert (mask == mask[::-1]).all()


def test_the_median_of_an_even_number_is_the_middle_of_two():
    values = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(median(values), np.median(values, axis=0), rtol=1e-6)
    values[1, 2, 0] = torch.nan
    assert torch.isnan(median(values)).sum() == 1


def test_one_member_has_the_published_number_of_parameters():
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in Regressor(579, 785).parameters()) == 547_601
        assert sum(parameter.numel() for parameter in Ensemble(5, 579, 785).parameters()) == 2_738_005


# --- features -------------------------------------------------------------------------------------


def test_the_disk_in_a_patch_is_round_and_centred():
    mask = central_disk(14, 6.25)
    assert mask.shape == (14, 14)
    assert mask.sum() == sum((x + 0.5) ** 2 + (y + 0.5) ** 2 <= 6.25**2 for x in range(-7, 7) for y in range(-7, 7))
    assert central_disk(7, 0.0).sum() == 1
    assert central_disk(6, 0.0).sum() == 4  # none lies on the centre: the nearest four
    assert central_disk(5, 9.0).all()


def test_colour_statistics_are_those_of_the_square_its_surroundings_and_the_patch():
    images = np.random.default_rng(3).integers(0, 256, size=(2, 70, 70, 3), dtype=np.uint8)
    found = colour_statistics(images)
    assert found.shape == (2, 4, 4, 36)
    square = images[1, 16:32, 32:48] / 255
    np.testing.assert_allclose(found[1, 1, 2, :6], [*square.mean(axis=(0, 1)), *square.std(axis=(0, 1))], atol=1e-5)
    np.testing.assert_allclose(
        found[1, 1, 2, 6:12],
        [
            *(square[:, 8:] - square[:, :8]).mean(axis=(0, 1)),
            *(square[8:] - square[:8]).mean(axis=(0, 1)),
        ],
        atol=1e-5,
    )
    np.testing.assert_allclose(found[1, 1, 2, 12:24], found[1, 0:3, 1:4, :12].mean(axis=(0, 1)), atol=1e-5)
    np.testing.assert_allclose(found[1, 0, 3, 24:27], images[1, :64, :64].mean(axis=(0, 1)) / 255, atol=1e-5)
    with pytest.raises(ValueError, match="no superpixel of 16 px"):
        colour_statistics(images[:, :12, :12])


def test_a_disk_of_one_colour_is_a_constant_feature_map_and_so_a_constant_prediction():
    flat = np.full((3, 64, 64, 3), 200, dtype=np.uint8)
    disks = under_central_disks([colour_statistics(flat[:2]), colour_statistics(flat[2:])], 1.2)
    assert disks.shape == (3, 4, 36)
    with torch.no_grad():
        predicted = Ensemble(2, 36, 5, hidden=8)(torch.from_numpy(disks))
    assert (predicted - predicted[0, 0]).abs().max() == 0


def test_tokens_of_a_transformer_lie_where_the_squares_do(tmp_path):
    network = token_network(None, seed=1)
    images = np.random.default_rng(4).integers(0, 256, size=(2, 48, 48, 3), dtype=np.uint8)
    found = tokens(images, network)
    assert found.shape == (2, 3, 3, 2 * 384 + 3)
    np.testing.assert_allclose(found[0, 2, 1, -3:], images[0, 32:, 16:32].mean(axis=(0, 1)) / 255, atol=1e-5)
    assert (found[1, :, :, 384:768] == found[1, 0, 0, 384:768]).all()
    other = images.copy()
    other[:, 32:, 16:32] = 255 - other[:, 32:, 16:32]
    moved = np.abs(tokens(other, network)[..., :384] - found[..., :384]).mean(axis=(0, 3))
    assert np.unravel_index(moved.argmax(), moved.shape) == (2, 1)
    # A checkpoint of DINO: a teacher whose names are wrapped, with a head.
    state = {f"module.backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"teacher": {**state, "module.head.mlp.0.weight": torch.zeros(2)}, "epoch": 3}, tmp_path / "dino.pth")
    again = token_network(tmp_path / "dino.pth", seed=2)
    np.testing.assert_array_equal(tokens(images, again), found)
    torch.save({"teacher": {"module.backbone.cls_token": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: no weights of HIPT's 256 px transformer"):
        token_network(tmp_path / "other.pth", seed=2)
