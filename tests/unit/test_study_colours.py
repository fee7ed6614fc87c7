"""Nine numbers of a picture against closed forms and OpenCV, their component against scikit-learn."""

import cv2
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from spotweave.studies import colours


def test_closed_forms():
    halves = np.zeros((4, 6, 3), np.uint8)
    halves[:2] = 255
    everywhere = np.ones((4, 6), bool)
    found = colours.measure(halves, everywhere)
    assert found == pytest.approx(
        {
            "rms_contrast": 0.5,
            "michelson_contrast": 1,
            "grayscale_brightness": 0.5,
            **{f"chan{channel}_brightness": 127.5 for channel in (1, 2, 3)},
            "chan1_brightness_YUV": 0.5,
            "chan2_brightness_YUV": 0,
            "chan3_brightness_YUV": 0,
        },
        abs=1e-9,
    )
    assert tuple(found) == colours.METRICS
    assert len(colours.METRICS) == 9
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    red = colours.measure(red, everywhere)
    assert (red["grayscale_brightness"], red["rms_contrast"]) == pytest.approx((0.2125, 0), abs=1e-12)
    assert (red["chan1_brightness"], red["chan2_brightness"]) == (255, 0)
    assert red["chan1_brightness_YUV"] == pytest.approx(0.299)
    assert np.isnan(colours.measure(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool))["michelson_contrast"])
    with pytest.raises(ValueError, match="without tissue"):
        colours.measure(halves, ~everywhere)


def test_only_tissue_counts_and_yuv_is_that_of_another_library():
    draw = np.random.default_rng(0)
    picture = draw.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    tissue = draw.uniform(size=(20, 30)) < 0.4
    changed = np.where(tissue[..., None], picture, 255).astype(np.uint8)
    found = colours.measure(picture, tissue)
    assert found == colours.measure(changed, tissue)
    assert found["chan2_brightness"] == pytest.approx(picture[tissue][:, 1].mean())
    theirs = cv2.cvtColor((picture[tissue][None] / 255).astype(np.float32), cv2.COLOR_RGB2YUV)[0].mean(axis=0)
    # OpenCV adds a half to U and V, and rounds their weights to three digits.
    ours = [found[f"chan{channel}_brightness_YUV"] for channel in (1, 2, 3)]
    assert ours == pytest.approx((theirs - [0, 0.5, 0.5]).tolist(), abs=2e-3)


def slides(draw, count=40):
    light = draw.normal(size=count)
    values = light[:, None] * draw.uniform(0.5, 1, 9) + 0.5 * draw.normal(size=(count, 9))
    return pd.DataFrame(values * 20 + 100, [f"s{n:02}" for n in range(count)], list(colours.METRICS)), light


def test_the_component_is_that_of_scikit_learn_and_points_to_the_bright():
    table, light = slides(np.random.default_rng(1))
    found = colours.first_component(table)
    library = PCA(1).fit(StandardScaler().fit_transform(table))
    theirs = library.transform(StandardScaler().fit_transform(table))[:, 0] * np.sqrt(39 / 40)
    np.testing.assert_allclose(np.abs(found.scores), np.abs(theirs), atol=1e-9)
    assert found.share == pytest.approx(library.explained_variance_ratio_[0])
    assert np.corrcoef(found.scores, light)[0, 1] > 0.9
    turned = colours.first_component(table.iloc[::-1])
    np.testing.assert_allclose(turned.scores[::-1], found.scores, atol=1e-9)
    constant = colours.first_component(table.assign(rms_contrast=3.0))
    assert np.isfinite(constant.scores).all()
    with pytest.raises(ValueError, match="3 slides"):
        colours.first_component(table.iloc[:3])


def test_slides_that_are_predicted_by_their_light_are_told_from_others():
    draw = np.random.default_rng(2)
    table, light = slides(draw, 60)
    table.iloc[0] = table.iloc[0] + 400  # far from all others
    follows = pd.Series(0.3 * light + 0.1 * draw.normal(size=60), table.index).drop("s59")
    found = colours.followed_by(table, follows).set_index("quality")
    assert found.loc["component_1", "slides"] == 58
    assert found.loc["component_1", "r"] > 0.7
    assert found.loc["component_1", "p"] < 1e-8
    kept = table.index[1:59]
    theirs = scipy.stats.pearsonr(table.loc[kept, "chan2_brightness"], follows[kept])
    assert found.loc["chan2_brightness", ["r", "p"]].tolist() == pytest.approx([theirs.statistic, theirs.pvalue])
    assert (found["q"] >= found["p"]).all()
    nothing = colours.followed_by(table, pd.Series(draw.normal(size=60), table.index)).set_index("quality")
    assert nothing.loc["component_1", "p"] > 0.01
    assert colours.followed_by(table, follows * 0)["p"].isna().all()
