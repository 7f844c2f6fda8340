"""Figures: what is drawn equals the summary and the rows, in files and in axes of one's own."""

import matplotlib
import numpy as np
import polars as pl
import pytest

import tangency
from report.synthetic_run import build_run
from tangency.errors import RunError
from tangency.measures.keys import FRACTION
from tangency.report.draw.curves import positions
from tangency.report.draw.gallery import best_cell, gallery_columns, strip_columns
from tangency.report.draw.mosaic import MosaicColumn, draw_mosaic, photo_tiles, signed_tiles
from tangency.report.draw.noise import noise_columns, split_noise, tangent_rows
from tangency.report.draw.pixels import photograph
from tangency.report.draw.regimes import regime_fans, regimes_figure, regimes_objective
from tangency.report.draw.story import objectives_figure
from tangency.report.read.run import read_run
from tangency.report.read.trials import column
from tangency.report.text.story import paper_stories


@pytest.fixture(scope="module")
def content(world_run):
    return read_run(world_run)


@pytest.fixture
def ax():
    from matplotlib.figure import Figure

    with tangency.plot.style():
        return Figure().subplots()


def cells_of(content, objective, key):
    """(strength, entry) of the recipes of an objective that have the measure, by strength."""
    own = [
        (cell.strength, cell.measures[key]) for cell in column(content.summary.cells, objective) if key in cell.measures
    ]
    return sorted(((s, entry) for s, entry in own if entry.mean is not None), key=lambda pair: pair[0])


def test_a_curve_and_its_band_are_the_numbers_of_the_summary(content, ax):
    key = "tangent_fraction.margin.pca"
    assert tangency.plot.curves(content.folder, key, ax) is ax
    place = positions(content.summary.trials)
    drawn = {line.get_label(): line for line in ax.lines}
    bands = iter(ax.collections)
    for objective, label in {"gradient_norm": "gradient norm", "pgd_l2": "PGD ℓ₂"}.items():
        expected = cells_of(content, objective, key)
        assert len(expected) > 2
        np.testing.assert_array_equal(drawn[label].get_xdata(), [place(s) for s, _ in expected])
        np.testing.assert_array_equal(drawn[label].get_ydata(), [entry.mean for _, entry in expected])
        corners = {tuple(corner) for corner in next(bands).get_paths()[0].vertices}
        assert corners >= {(place(s), end) for s, entry in expected for end in (entry.low, entry.high)}
    assert ax.get_xlabel() == "strength"


def test_chosen_objectives_keep_their_colours(content, ax):
    tangency.plot.curves(content.folder, "accuracy", ax, objectives=["pgd_l2"])
    (one,) = [line for line in ax.lines if line.get_label() == "PGD ℓ₂"]
    tangency.plot.curves(content.folder, "accuracy", ax)
    again = [line for line in ax.lines if line.get_label() == "PGD ℓ₂"][1]
    assert (one.get_color(), one.get_marker()) == (again.get_color(), again.get_marker())
    assert len({line.get_color() for line in ax.lines if line.get_label() in ("PGD ℓ₂", "gradient norm")}) == 2


def test_the_figure_of_objectives_shows_accuracy_alignment_and_change_of_every_network(tmp_path):
    several = read_run(build_run(tmp_path / "run", seeds=(0, 1)))
    figure = objectives_figure(several)
    stories = paper_stories(several.summary)
    titles = [row.title for row in stories[0].rows]
    assert [title.partition(",")[0] for title in titles] == [
        "Accuracy",
        "cos closed form's Bayes direction",
        "1 − LPIPS closed form's Bayes direction",
        "Softmax change",
    ]
    grid = np.array(figure.axes).reshape(len(titles), len(stories))
    keys = ["accuracy", "alignment_cosine.margin.bayes_gradient.sigma=0.5.shuffled", None, "change_off.eps=2"]
    for row, key in enumerate(keys):
        if key is None:
            continue
        expected = cells_of(several, stories[0].id, key)
        curve = grid[row, 0].lines
        levels = [list(line.get_ydata()) for line in curve]
        assert [entry.mean for _, entry in expected] in levels
        assert [value for _, entry in expected for value in entry.each] in levels  # the point of each network


def test_a_fan_has_the_angles_of_the_rows(content):
    objective = regimes_objective(content)
    fans = regime_fans(content, objective)
    assert [fan.cell.regime for fan in fans] == ["weak", "bayes_aligned", "excessive"]
    aligned = [cell for cell in column(content.summary.cells, objective) if cell.regime == "bayes_aligned"]
    assert fans[1].cell is best_cell(content, aligned)
    assert [fan.cell.strength for fan in fans][::2] == [0.0, 30.0]
    at = regimes_figure(content).axes[1]
    rows = content.rows.filter(pl.col("trial") == fans[1].trial)[FRACTION].to_numpy()
    bold = max(at.lines, key=lambda line: line.get_linewidth())
    end = bold.get_xydata()[1]
    assert end[0] ** 2 == pytest.approx(np.nanmedian(rows))
    assert np.linalg.norm(end) == pytest.approx(1)
    dotted = next(line for line in at.lines if line.get_label() == "random direction")
    assert dotted.get_xydata()[1][0] ** 2 == pytest.approx(fans[1].chance)


def test_shares_are_means_over_their_largest(content, ax):
    objective = regimes_objective(content)
    tangency.plot.regimes(content.folder, ax)
    own = next(line for line in ax.lines if line.get_label() == "F²")
    means = np.array([entry.mean for _, entry in cells_of(content, objective, FRACTION)])
    np.testing.assert_allclose(own.get_ydata(), means / means.max())


def test_the_gallery_has_the_best_network_of_each_objective_and_the_bayes_rule(content, ax):
    headings = [" ".join(column.heading.split()) for column in gallery_columns(content, 3)]
    assert headings[:4] == ["image", "class score", "closed form's Bayes direction", "standard"]
    assert headings[-1] == "Bayes rule"
    levels = {"gradient_norm": {}, "pgd_l2": {}}
    for cell in content.summary.cells:
        if cell.objective in levels and cell.verdict and cell.regime != "collapsed":
            own = [under.alignment.mean for under in cell.verdict.aligned.values()]
            levels[cell.objective][cell.strength] = sum(own) / len(own)
    best = {name: max(own, key=own.get) for name, own in levels.items()}
    assert f"gradient norm {best['gradient_norm']:g}" in headings
    assert f"PGD ℓ₂ {best['pgd_l2']:g}" in headings
    tangency.plot.gallery(content.folder, ax, images=3)
    assert [text.get_text() for text in ax.texts][-3:] == ["T-shirt/top", "Trouser", "Pullover"]


def test_strips_have_a_column_for_each_strength_in_order(content, ax):
    made = strip_columns(content, "gradient_norm", 2)
    assert [column.heading for column in made[2:]] == ["0", "0.03", "0.3", "3", "30"]
    assert [bool(column.colour) for column in made[2:]] == [True, True, True, False, True]  # 3 is undetermined
    tangency.plot.strips(content.folder, "gradient_norm", ax, images=2)
    (sheet,) = ax.images
    tile = photograph(content.pictures["image"][1])
    assert (sheet.get_array()[-28:, :28] == tile).all()


def test_a_mosaic_puts_every_picture_in_its_place_and_greys_what_is_missing(ax):
    x = np.random.default_rng(0).uniform(size=(2, 3, 5, 7))
    nothing = signed_tiles(np.zeros((2, 1, 5, 7)))
    assert nothing == [None, None]
    draw_mosaic(ax, [MosaicColumn("a", photo_tiles(x)), MosaicColumn("b", nothing)], ["one", "two"])
    sheet = ax.images[0].get_array()
    assert sheet.shape == (11, 15, 3)
    assert (sheet[6:, :7] == photograph(x[1])).all()
    assert set(sheet[:5, 8:].flat) == {236}
    assert (sheet[:, 7] == 255).all()


def test_signed_pictures_are_white_at_zero_red_above_and_blue_below():
    (tile,) = signed_tiles(np.array([[[[0.0, 2.0, -2.0]]]]))
    assert tile.tolist() == [[[255, 255, 255], [178, 24, 43], [33, 102, 172]]]


def test_noise_has_one_length_in_each_space_and_is_the_same_in_any_batch(content):
    x, rows = content.pictures["image"][:3].astype(float), tangent_rows(content)[:3]
    noise = split_noise(x, rows, 1.5, [7, 8, 9])
    for part in (noise.tangent, noise.normal):
        np.testing.assert_allclose(np.linalg.norm(part.reshape(3, -1), axis=1), 1.5)
    inside = np.einsum("nkd,nd->nk", rows, noise.normal.reshape(3, -1))
    assert np.abs(inside).max() < 0.02  # stored directions are rounded to a byte
    basis = np.linalg.qr(rows[0].T)[0]
    tangent = noise.tangent[0].reshape(-1)
    np.testing.assert_allclose(basis @ (basis.T @ tangent), tangent, atol=1e-12)
    np.testing.assert_array_equal(split_noise(x[1:2], rows[1:2], 1.5, [8]).tangent[0], noise.tangent[1])
    empty = split_noise(x, np.zeros((3, 2, x[0].size)), 1.0)
    assert not empty.tangent.any()


def test_the_noise_figure_takes_the_length_of_the_measured_steps(content, ax):
    headings = [column.heading for column in noise_columns(content, 2)]
    assert headings[1] == "+ tangent\nε = 2"
    tangency.plot.noise(content.folder, ax, images=2, epsilon=1.0)
    assert "+ normal\nε = 1" in [text.get_text() for text in ax.texts]
    with pytest.raises(RunError, match="keeps no tangent spaces of vae"):
        tangency.plot.noise(content.folder, ax, estimator="vae")


def test_functions_draw_into_the_current_axes_and_name_what_is_unknown(content):
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with tangency.plot.style(6.75):
        figure, at = pyplot.subplots()
        assert figure.get_figwidth() == 6.75
        assert tangency.plot.distractor(content.folder) is at
        pyplot.close(figure)
    for draw, words in {
        lambda: tangency.plot.curves(content.folder, "acuracy"): "Did you mean 'accuracy'",
        lambda: tangency.plot.curves(content.folder, "accuracy", objectives=["pgd"]): "Did you mean 'pgd_l2'",
        lambda: tangency.plot.story(content.folder, "pgd_l2", "Akkuracy"): "Did you mean 'Accuracy'",
        lambda: tangency.plot.fan(content.folder, "strong"): "unknown regime 'strong'",
        lambda: tangency.plot.strips(content.folder, "none"): "unknown objective 'none'",
        lambda: tangency.plot.gallery("nowhere"): "nowhere",
    }.items():
        with pytest.raises(RunError, match=words):
            draw()
    pyplot.close("all")


def test_a_row_of_the_story_and_a_fan_can_be_drawn_alone(content, ax):
    tangency.plot.story(content.folder, "pgd_l2", ax=ax)
    means = [entry.mean for _, entry in cells_of(content, "pgd_l2", "accuracy")]
    assert means in [list(line.get_ydata()) for line in ax.lines]
    assert ax.get_xticklabels()[0].get_text() == "0"
    tangency.plot.fan(content.folder, "excessive", ax)
    assert ax.get_title().startswith("Excessive")
