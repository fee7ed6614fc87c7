"""ST-Align against numbers of the published code (its weights, inputs, outputs, gradients) and closed forms."""

import math

import numpy as np
import pytest
import torch

from real_data import real
from spotweave.finetune.losses.stalign import Weights, stalign_losses
from spotweave.networks import stalign_parts
from spotweave.networks.stalign import Aligned, Sizes, StAlign, Views, from_published

VIEWS = ("spot_img", "spot_gene", "niche_img", "niche_gene")
GRADIENTS = {
    "img_local_mlp.2.bias": "projections.spot_image.2.bias",
    "local_fusion.ln_fuse.weight": "fuse_spot.norm.weight",
    "gene_global.global_gene.1.layers.0.0.fn.to_out.0.bias": "niche_genes.blocks.0.attention.to_out.bias",
    "global_mlp.0.bias": "projections.niche.0.bias",
    "gene_local.conv1.weight": "spot_gene_tokens.conv.weight",
    "img_global.global_img.2.conv1.weight": "niche_image_tokens.conv.weight",
    "global_fusion.cross_attn_x.norm_q.weight": "fuse_niche.image_asks.norm_query.weight",
    "gene_global.global_gene.0.mlp.0.bias": "niche_genes.spread.0.bias",
}
TINY = Sizes(
    **{"dim": 16, "tokens": 3, "spot_image": 16, "spot_gene": 11, "niche_image": 32, "niche_genes": 9},
    **{"gene_token_dim": 5, "depth": 1, "heads": 2, "head_dim": 3, "mlp_dim": 7, "hidden": 13, "out": 6},
)


def close(found, wanted, atol=1e-5):
    torch.testing.assert_close(found.detach(), wanted, rtol=0, atol=atol)


def sizes_of(state):
    """As the weights of a published network have them; heads are not to be seen in them."""
    dim = len(state["local_fusion.ln_fuse.weight"])
    layers = "gene_global.global_gene.1.layers"
    hidden, flat = state["img_local_mlp.0.weight"].shape
    return {
        "dim": dim,
        "tokens": flat // dim,
        "spot_image": dim,
        "spot_gene": dim,
        "niche_image": 2 * dim,
        "niche_genes": state["gene_global.global_gene.0.mlp.0.weight"].shape[1],
        "gene_token_dim": len(state[f"{layers}.0.0.norm.weight"]),
        "depth": 1 + max(int(name.split(".")[4]) for name in state if name.startswith(layers)),
        "mlp_dim": len(state[f"{layers}.0.1.fn.net.0.weight"]),
        "hidden": hidden,
        "out": len(state["img_local_mlp.2.bias"]),
    }


@pytest.fixture(scope="module")
def published():
    with np.load(real("data/method_oracles", "stalign_model.npz")) as file:
        known = {key: torch.from_numpy(file[key]) for key in file.files}
    state = {key.removeprefix("state/"): value for key, value in known.items() if key.startswith("state/")}
    state = {key: value for key, value in state.items() if not key.startswith("bottleneck.")}
    network = StAlign(Sizes(**sizes_of(state), heads=4, head_dim=8), niche_projections=False)
    network.load_state_dict(from_published(state), strict=True)
    return known, network.eval()


def views(known, front="in/"):
    return Views(*(known[f"{front}{name}"] for name in VIEWS))


def test_every_step_is_that_of_the_published_network(published):
    known, network = published
    seen = views(known)
    genes = network.niche_genes.tokens(seen.niche_gene)
    close(genes, known["mid/gene_tokens"])
    close(network.niche_genes.blocks(genes), known["mid/gene_transformer"])
    close(network.spot_image_tokens(seen.spot_image), known["mid/conv_spot_img"])
    close(network.spot_gene_tokens(seen.spot_gene), known["mid/conv_spot_gene"])
    close(network.niche_image_tokens(seen.niche_image), known["mid/conv_niche_img"])
    found = network(seen)
    names = ("spot_img", "spot_gene", "niche_img", "niche_gene", "spot_fused", "niche_fused")
    for name, part in zip(names, found, strict=True):
        close(part, known[f"out/fwd_{name}"])


def test_the_fusion_is_the_published_one_with_its_gradients(published):
    known, network = published
    image, gene = (known[f"in/ct_fusion_{name}"].clone().requires_grad_() for name in ("img", "gene"))
    close(network.fuse_spot.image_asks(image, gene), known["mid/fusion_img_to_gene"])
    close(network.fuse_spot.gene_asks(gene, image), known["mid/fusion_gene_to_img"])
    fused = network.fuse_spot(image, gene)
    close(fused, known["out/fusion"])
    (fused * known["in/ct_out"]).sum().backward()
    close(image.grad, known["out/fusion_grad_img"])
    close(gene.grad, known["out/fusion_grad_gene"])


def test_the_front_block_is_the_published_one(published):
    known, _ = published
    block = stalign_parts.FrontBlock()
    state = {key.removeprefix("state/bottleneck."): value for key, value in known.items() if "/bottleneck." in key}
    block.load_state_dict(state | {"norm.num_batches_tracked": torch.tensor(0)}, strict=True)
    close(block.eval()(known["in/bottleneck"])[:, :, ::16, ::16], known["out/bottleneck_sub16"])


def test_losses_and_their_gradients_are_the_published_ones_once_flattened(published):
    known, network = published
    network.zero_grad()
    found = network(views(known))
    negatives = [network(views(known, f"in/neg{number}_")) for number in range(1, 6)]
    with pytest.raises(ValueError, match="expected is"):
        stalign_losses(found, Weights(), negatives=negatives)
    flat = [one.flattened() for one in negatives]
    losses = stalign_losses(found.flattened(), Weights(), negatives=flat)
    for name in ("spot", "niche", "fusion"):
        close(getattr(losses, name), known[f"mid/loss_{name}"], 2e-6)
    close(losses.total, known["out/total_loss_flattened"], 2e-6)
    losses.total.backward()
    parameters = dict(network.named_parameters())
    for theirs, ours in GRADIENTS.items():
        wanted = known[f"out/total_grad/{theirs}"]
        close(parameters[ours].grad, wanted, 1e-6 + 1e-5 * float(wanted.abs().max()))


def count(build):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters())


def test_published_sizes_have_the_published_number_of_parameters():
    parts = {
        "fusion": lambda: stalign_parts.AttentionFusion(512),
        "genes": lambda: StAlign(Sizes()).niche_genes,
        "transformer": lambda: StAlign(Sizes()).niche_genes.blocks,
        "projection": lambda: StAlign(Sizes()).projections["spot"],
        "resnet": stalign_parts.small_resnet,
        "front": stalign_parts.FrontBlock,
    }
    found = {name: count(build) for name, build in parts.items()}
    assert found == {
        **{"fusion": 2_202_240, "genes": 21_029_680, "transformer": 13_493_520, "projection": 10_488_832},
        **{"resnet": 24_549_440, "front": 90},
    }

    def whole():
        return StAlign(
            Sizes(),
            spot_image=stalign_parts.small_resnet(),
            niche_image=stalign_parts.FrontBlock(),
            niche_projections=False,
        )

    def uni():
        import timm

        return timm.create_model("vit_large_patch16_224", num_classes=0, init_values=1e-5)

    assert count(whole) == 91_939_074
    assert count(whole) + count(uni) == 395_289_858


def random_views(batch=5, sizes=TINY, seed=0):
    draw = torch.Generator().manual_seed(seed)
    widths = (sizes.spot_image, sizes.spot_gene, sizes.niche_image, sizes.niche_genes)
    return Views(*(torch.randn(batch, width, generator=draw) for width in widths))


def test_the_mended_niche_has_projections_and_a_loss_that_reaches_every_weight():
    torch.manual_seed(0)
    network = StAlign(TINY).eval()
    found = network(random_views())
    assert {tuple(part.shape) for part in found} == {(5, 6)}
    stalign_losses(found, Weights()).total.backward()
    silent = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert silent == set()
    published = StAlign(TINY, niche_projections=False).eval()(random_views())
    assert published.niche_image.shape == (5, 3, 16)
    with pytest.raises(ValueError, match=r"niche_image is \(5, 3, 16\)"):
        stalign_losses(published, Weights())


def test_spots_do_not_meet_in_the_network():
    torch.manual_seed(1)
    network, seen = StAlign(TINY).eval(), random_views()
    whole = network(seen)
    alone = network(Views(*(part[3:4] for part in seen)))
    for together, one in zip(whole, alone, strict=True):
        torch.testing.assert_close(one, together[3:4], rtol=0, atol=1e-5)


def test_encoders_are_put_in_from_outside_and_of_any_width():
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 7))
    sizes = Sizes(**{**vars(TINY), "spot_image": 7})
    network = StAlign(sizes, spot_image=encoder).eval()
    seen = random_views()._replace(spot_image=torch.rand(5, 3, 4, 4))
    assert network(seen).spot_image.shape == (5, 6)
    assert isinstance(network.spot_image_tokens.adapter, torch.nn.Linear)
    assert isinstance(network.niche_image_tokens.adapter, torch.nn.Identity)


def test_ablations_are_settings():
    torch.manual_seed(2)
    network = StAlign(TINY, fusion="concatenation").eval()
    found = network(random_views())
    losses = stalign_losses(found, Weights(spot=0.5, niche=0.0))
    assert losses.total.item() == pytest.approx((0.5 * losses.spot + 0.5 * losses.fusion).item(), rel=1e-6)
    only = stalign_losses(found, Weights(0, 0))
    assert only.total.item() == pytest.approx(only.fusion.item(), rel=1e-6)
    with pytest.raises(ValueError, match="'sum', allowed: attention, concatenation"):
        StAlign(TINY, fusion="sum")


def test_shares_are_positive_and_add_up_to_one():
    assert Weights(0.3, 0.3).fusion == pytest.approx(0.4)
    assert Weights(0.7, 0.3).fusion == pytest.approx(0, abs=1e-12)
    for shares in ((-0.1, 0.3), (0.6, 0.5)):
        with pytest.raises(ValueError, match="together at most 1"):
            Weights(*shares)


def test_the_loss_of_equal_embeddings_vanishes_with_the_temperature_and_is_the_logarithm_of_the_batch_when_blind():
    same = Aligned(*[torch.eye(4)] * 6)
    assert stalign_losses(same, Weights(), temperature=0.01).total.item() == pytest.approx(0, abs=1e-6)
    blind = Aligned(*[torch.ones(4, 3)] * 6)
    assert stalign_losses(blind, Weights()).total.item() == pytest.approx(math.log(4), abs=1e-5)


def test_sizes_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="depth is 0"):
        Sizes(depth=0)
    with pytest.raises(ValueError, match="dim is 12, allowed: a multiple of 8"):
        Sizes(dim=12)
