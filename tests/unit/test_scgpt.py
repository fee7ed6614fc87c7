"""scGPT's encoder against torch's own transformer, its files, and its vectors in ST-Align."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from test_finetune import SPLITS, TINY, write_sample
from test_recipes import STALIGN, measured
from torch import nn

from spotweave.errors import Refusal
from spotweave.expression.binned import binned
from spotweave.expression.samples import Expression
from spotweave.finetune import Job, fold
from spotweave.finetune.expression_side import describe_as, embed_expression
from spotweave.finetune.niches import neighbours_of, niche_rows
from spotweave.finetune.pairs import Tables
from spotweave.finetune.scgpt import ScGptSpots
from spotweave.io import file_hash
from spotweave.networks import tower
from spotweave.recipes import RECIPES, stand_ins

DIM, HEADS, HIDDEN, LAYERS = 8, 2, 12, 2
WORDS = {"a": 3, "b": 0, "c": 5, "d": 1, "<pad>": 2, "<cls>": 4}
ARGUMENTS = {
    **{"embsize": DIM, "nheads": HEADS, "d_hid": HIDDEN, "nlayers": LAYERS, "n_bins": 51, "max_seq_len": 4},
    **{"pad_token": "<pad>", "pad_value": -2, "input_emb_style": "continuous"},
}


def published():
    """Tensors under the names of the published file, those of its heads too."""
    draw = torch.Generator().manual_seed(0)
    part = {"self_attn.Wqkv": (3 * DIM, DIM), "self_attn.out_proj": (DIM, DIM), "linear1": (HIDDEN, DIM)}
    part |= {"linear2": (DIM, HIDDEN), "norm1": (DIM,), "norm2": (DIM,)}
    shapes = {"encoder.enc_norm": (DIM,), "value_encoder.linear1": (DIM, 1), "value_encoder.linear2": (DIM, DIM)}
    shapes |= {"value_encoder.norm": (DIM,), "mvc_decoder.gene2query": (DIM, DIM), "decoder.fc.0": (DIM, DIM)}
    shapes |= {f"transformer_encoder.layers.{n}.{name}": shape for n in range(LAYERS) for name, shape in part.items()}
    state = {"encoder.embedding.weight": (len(WORDS), DIM), "flag_encoder.weight": (2, DIM)}
    state |= {f"{name}.weight": shape for name, shape in shapes.items()}
    state |= {f"{name}.bias": shape[:1] for name, shape in shapes.items()}
    return {name: torch.randn(shape, generator=draw) * 0.5 for name, shape in state.items()}


def write(folder, state=None, words=WORDS, arguments=ARGUMENTS):
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "args.json").write_text(json.dumps(arguments))
    torch.save(published() if state is None else state, folder / "best_model.pt")
    return folder


def table(counts, genes=("a", "x", "b", "c", "d")):
    counts = sparse.csr_matrix(np.array(counts, np.float32))
    names = np.array([f"s{number}" for number in range(counts.shape[0])])
    return Expression("S1", names, np.array(genes), counts, np.zeros((len(names), 2)))


def by_torch(state, tokens, values):
    """The first token of one spot by torch's transformer, nothing padded."""
    sizes = {"dropout": 0.0, "activation": "relu", "batch_first": True, "norm_first": False}
    network = nn.TransformerEncoder(nn.TransformerEncoderLayer(DIM, HEADS, HIDDEN, **sizes), LAYERS).eval()
    front = "transformer_encoder."
    own = {name.removeprefix(front): tensor for name, tensor in state.items() if name.startswith(front)}
    network.load_state_dict({name.replace("Wqkv.", "in_proj_"): tensor for name, tensor in own.items()})

    def linear(name, x):
        return nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name, x):
        return nn.functional.layer_norm(x, (DIM,), state[f"{name}.weight"], state[f"{name}.bias"])

    genes = norm("encoder.enc_norm", state["encoder.embedding.weight"][torch.tensor(tokens)])
    known = linear("value_encoder.linear1", torch.tensor(values, dtype=torch.float32)[:, None]).relu()
    known = norm("value_encoder.norm", linear("value_encoder.linear2", known))
    with torch.no_grad():
        found = network((genes + known)[None])[0, 0].numpy()
    return found / np.linalg.norm(found)


def test_spots_are_embedded_as_torchs_transformer_does(tmp_path):
    state = published()
    model = ScGptSpots(write(tmp_path / "m", state), device="cpu")
    # Quantiles of 1 and 4 at fiftieths: the lower is in the first bin, the higher in the last. A gene without a word
    # (x) is not seen, nor is one that was not counted; the second spot is padded.
    found = model.embed(table([[4, 9, 0, 1, 0], [0, 9, 7, 0, 0], [0, 3, 0, 0, 0]]))
    wanted = [by_torch(state, [4, 3, 5], [-2, 50, 1]), by_torch(state, [4, 0], [-2, 50]), by_torch(state, [4], [-2])]
    np.testing.assert_allclose(found[[0, 2]], np.array(wanted)[[0, 2]], atol=1e-5)
    # A single count is every quantile: the middle of all bins.
    np.testing.assert_allclose(found[1], by_torch(state, [4, 0], [-2, 25]), atol=1e-5)
    assert binned(np.array([1.0, 1, 1, 5]), 5).tolist() == [2, 2, 2, 4]
    assert binned(np.arange(1.0, 51), 51).tolist() == list(range(1, 51))
    tokens, _ = model.tokens(table([[1, 0, 2, 3, 4]]))
    assert tokens.shape == (1, 4) and len(set(tokens[0])) == 4  # no more than it takes
    with pytest.raises(Refusal, match="S1 has no gene of scGPT's vocabulary"):
        model.embed(table([[1]], genes=("x",)))


def test_weights_that_are_not_there_or_do_not_fit_are_refused_in_a_line_with_the_steps(tmp_path):
    def refusal(*args):
        with pytest.raises(Refusal) as caught:
            ScGptSpots(*args, device="cpu")
        said = str(caught.value)
        assert "\n" not in said
        assert "model zoo of https://github.com/bowang-lab/scGPT" in said
        assert "gene_encoder mlp or pca stand in for it" in said
        return said

    assert f"no file {tmp_path / 'none' / 'vocab.json'}" in refusal(tmp_path / "none")
    folder = write(tmp_path / "m")
    assert "has the SHA-256" in refusal(folder, "0" * 64)
    ScGptSpots(folder, file_hash(folder / "best_model.pt"), device="cpu")
    state, lost = published(), "transformer_encoder.layers.1.norm2.bias"
    assert lost in refusal(write(folder, {name: value for name, value in state.items() if name != lost}))
    assert "bn.weight" in refusal(write(folder, {**state, "bn.weight": torch.ones(DIM)}))
    assert "value_encoder.norm.bias" in refusal(write(folder, {**state, "value_encoder.norm.bias": torch.ones(3)}))
    assert "weights_only" in refusal(write(folder, {**state, "run": write}).resolve()).lower()
    assert "<cls>" in refusal(write(folder, words={word: n for word, n in WORDS.items() if word != "<cls>"} | {"e": 4}))
    assert "allowed: continuous" in refusal(write(folder, arguments={**ARGUMENTS, "input_emb_style": "category"}))


def test_its_vectors_are_the_spots_genes_of_st_align(tmp_path):
    samples = [write_sample(tmp_path, name, seed=seed) for seed, name in enumerate(["A1", "B1", "C1"])]
    for sample in samples:
        measured(sample.patches)
    folder = write(tmp_path / "m")
    kind = replace(STALIGN, gene_encoder="scgpt", gene_weights=str(folder), epochs=1)
    found = fold.train_fold(SPLITS, 0, samples, kind, TINY, Job(tmp_path / "w", tmp_path / "h", device="cpu"))
    header = tower.read_header(tmp_path / "w")
    assert header["scgpt"] == {"folder": str(folder), "sha256": file_hash(folder / "best_model.pt")}
    assert "stand_ins" not in header and "stand_ins" not in found
    (one,) = Tables(samples[:1])
    network = tower.unfilled_tower(header).eval()
    network.load_state_dict(tower.state_of(tmp_path / "w"))
    assert not list(network.spot_genes.parameters())
    values = describe_as(header, one)
    niches = niche_rows(values, neighbours_of(one.positions_px, np.zeros(len(values), np.int64), 3))
    vectors = ScGptSpots(folder, device="cpu").embed(one)
    with torch.no_grad():
        wanted = network.expression(torch.from_numpy(vectors), torch.from_numpy(niches)).numpy()
    np.testing.assert_allclose(embed_expression(tmp_path / "w", one), wanted, atol=1e-6)
    write(folder, {name: value * 2 for name, value in published().items()})
    with pytest.raises(Refusal, match="has the SHA-256"):
        embed_expression(tmp_path / "w", one)


def test_what_stands_in_for_it_is_said(tmp_path):
    row = {"kind": "stalign", "base_encoder": "e", "input_px": "32", "share_spot": "0.3", "share_niche": "0.3"}
    base = {"builder": "transformers_model"}
    assert stand_ins({**row, "gene_encoder": "pca"}) == ["pca stands in for scGPT"]
    assert not stand_ins({**row, "gene_encoder": "scgpt"}) and not stand_ins({"kind": "infonce"})
    check = RECIPES.load("stalign").check
    assert not check({**row, "gene_encoder": "scgpt", "gene_weights": "m"}, base)
    for wrong in ({"gene_encoder": "scgpt"}, {"gene_encoder": "mlp", "gene_weights": "m"}):
        assert [column for column, _ in check({**row, **wrong}, base)] == ["gene_weights"]
