"""Paper figures and pictures of synthetic runs: valid files, levels, labels that do not touch, scales."""

import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from report.helpers import embedded, trial_of
from report.synthetic_run import build_run
from tangency.evaluate.entries import MeasureEntry
from tangency.report.draw import pixels
from tangency.report.draw.sweep import correlations_figure, curves_figure
from tangency.report.page.spread import density
from tangency.report.read.run import read_run
from tangency.report.text.panels import story_keys


def test_signed_picture_is_symmetric_and_clear_at_zero():
    gradient = np.zeros((1, 7, 11))
    gradient[0, 2, 3], gradient[0, 4, 5] = 0.25, -0.25
    picture = pixels.signed(gradient)
    assert picture.shape == (7, 11, 4)
    assert tuple(picture[2, 3]) == (*pixels.POSITIVE, 255)
    assert tuple(picture[4, 5]) == (*pixels.NEGATIVE, 255)
    assert np.count_nonzero(picture[..., 3]) == 2
    np.testing.assert_array_equal(pixels.signed(1e-20 * gradient), picture)


def test_one_wild_pixel_does_not_dim_the_picture():
    gradient = np.random.default_rng(0).choice([-1.0, 1.0], (1, 53, 59))
    gradient[0, 0, 0] = 1e6
    assert (pixels.signed(gradient)[..., 3] == 255).all()


def test_large_pictures_are_shrunk_to_the_budget():
    uri = pixels.data_uri(np.zeros((211, 223, 3), np.uint8), 41)
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (41, 39)


def test_density_peaks_where_the_values_are():
    curve = density(np.full(97, 0.25))
    assert np.argmax(curve) == 15
    assert max(curve) == 1.0
    at_the_edge = density(np.zeros(97))
    assert np.argmax(at_the_edge) == 0


@pytest.mark.parametrize("headline", [True, False])
def test_the_story_shows_the_headline_alignment_with_or_without_a_headline(tmp_path, headline):
    summary = read_run(build_run(tmp_path / "run", headline=headline)).summary
    for trial in summary.trials:  # the order of summary.json, in which another alignment comes first
        ordered = sorted(trial.measures.items())
        trial.measures.clear()
        trial.measures.update(ordered)
    keys = story_keys(summary)
    assert keys["alignment"] == "alignment_cosine.margin.bayes_gradient.sigma=0.5"
    assert keys["alignment_control"] == "alignment_cosine.margin.bayes_gradient.sigma=0.5.shuffled"


def test_without_the_bayes_gradient_another_alignment_is_shown_at_its_largest_sigma(tmp_path):
    keys = [f"alignment_lpips.sum_logits.score.sigma={sigma}" for sigma in (0.25, 0.5, 0.125)]
    trial = trial_of(measures={key: MeasureEntry(mean=0.1, low=None, high=None) for key in keys})
    empty = read_run(build_run(tmp_path / "run", headline=False)).summary
    found = story_keys(dataclasses.replace(empty, trials=[trial]))
    assert found == {"alignment": keys[1]}


def test_image_control_is_a_level_of_its_own_in_alignment_panels(reported, page):
    content = read_run(reported[0])
    key = "alignment_cosine.margin.bayes_gradient.sigma=0.5"
    level = next(t.measures[f"{key}.image"].mean for t in content.summary.trials if key in t.measures)
    dotted = {
        " ".join(a.get_title().split()): [n for n in a.lines if n.get_label() == "image itself"]
        for a in curves_figure(content).axes
    }
    assert {len(lines) for title, lines in dotted.items() if title.startswith(("Cosine", "1 −"))} == {1}
    assert not any(lines for title, lines in dotted.items() if not title.startswith(("Cosine", "1 −")))
    own = next(
        lines[0] for title, lines in dotted.items() if title.startswith("Cosine with the closed form's Bayes direction")
    )
    assert own.get_ydata()[0] == level
    assert "image itself" in page
    assert f"{key}.image" in embedded(page)["measures"]


def test_figure_of_correlations_does_not_call_them_rho(reported):
    titles = [axes.get_title(loc="right") for axes in correlations_figure(read_run(reported[0])).axes]
    assert all("$r_s$" in title and "ρ" not in title for title in titles)
