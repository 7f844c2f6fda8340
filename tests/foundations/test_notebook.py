"""What notebooks show: escaped tables and pictures, and bars while work goes on."""

import base64
import html.parser
import io
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import tangency
from tangency import notebook
from tangency.engines import Event, Job
from tangency.measures import Rows
from tangency.mixtures import fit_mixture
from tangency.models import Classifier
from tangency.study.watch import watched
from tangency.tangents import TangentSpace
from tangency.types import Dataset, LabelledImages

EVIL = "<script>alert('1')</script>\""


class Tags(html.parser.HTMLParser):
    """The tags that open and close, the text, and the pictures."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text, self.pictures = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        if tag == "img":
            self.pictures.append(dict(attributes))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def shown(thing):
    """What a notebook shows of an object, checked: whole HTML of tables and pictures only."""
    tags = Tags(thing._repr_html_())
    assert tags.open == []
    assert tags.seen <= {"div", "strong", "table", "tr", "th", "td", "p", "img"}
    return tags


def images_of(classes=("cat", EVIL), n=9, name=EVIL):
    torch.manual_seed(0)
    pixels, labels = torch.rand(n, 3, 5, 7), torch.arange(n) % len(classes)
    return LabelledImages(pixels, labels, classes, name, "abc" * 20, notes=(EVIL,))


def test_images_show_the_first_of_each_class_their_range_and_digest():
    images = images_of()
    tags = shown(images)
    text = " ".join(tags.text)
    assert EVIL in text  # as text
    assert "9 of 3×5×7" in text
    assert "abcabcabcabcabca" in text
    assert f"{float(images.pixels.min()):.3g} to {float(images.pixels.max()):.3g}" in text
    assert [picture["title"] for picture in tags.pictures[:4]] == ["cat", EVIL, "cat", EVIL]
    encoded = tags.pictures[1]["src"].partition("base64,")[2]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        assert picture.size == (56, 40)
        own = (images.pixels[1].permute(1, 2, 0) * 255).round().numpy()
        np.testing.assert_array_equal(np.asarray(picture)[4::8, 4::8], own)


def test_of_unbalanced_classes_the_rare_one_is_shown_too():
    labels = torch.tensor([0] * 30 + [1])
    images = LabelledImages(torch.rand(31, 1, 2, 2), labels, ("a", "b"))
    assert [picture["title"] for picture in shown(images).pictures][:3] == ["a", "b", "a"]


@pytest.mark.parametrize("n", [0, 1])
def test_few_images_and_images_drawn_again_have_a_table(n):
    assert f"{n} of" in " ".join(shown(images_of(n=n)).text)
    drawn = LabelledImages(
        torch.zeros(0, 1, 4, 4), torch.zeros(3, dtype=torch.long), ("a",), drawn=lambda i: torch.rand(len(i), 1, 4, 4)
    )
    tags = shown(drawn)
    assert "drawn again" in " ".join(tags.text)
    assert len(tags.pictures) == 3


def test_a_data_set_shows_its_splits():
    data = Dataset(EVIL, images_of(), images_of(name="test split"), "CC0 <b>")
    text = " ".join(shown(data).text)
    assert "CC0 <b>" in text
    assert "test split" in text
    assert "training" in text


def test_rows_list_measures_before_controls_with_mean_range_and_lost_images():
    columns = {
        "tangent_fraction.margin.pca": torch.tensor([0.5, 0.5, 0.5]),
        "accuracy": torch.tensor([1.0, 0.0, float("nan")]),
        "radius": torch.full((3,), float("nan")),
    }
    rows = Rows(torch.arange(3), columns, 16, 2, (EVIL,))
    text = shown(rows).text
    assert text.index("accuracy") < text.index("tangent_fraction.margin.pca")
    at = text.index("accuracy")
    assert text[at : at + 5] == ["accuracy", "0.5", "0", "1", "1"]
    at = text.index("radius")
    assert text[at : at + 2] == ["radius", "3"]
    assert EVIL in " ".join(text)
    many = Rows(torch.arange(1), {f"extra_{i}": torch.zeros(1) for i in range(50)}, 16, 2)
    assert "and 10 more in keys()" in " ".join(shown(many).text)


def test_classifiers_mixtures_and_tangent_spaces_have_tables():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    net = Classifier.wrap(module, (3, 2, 2), ["cat", EVIL], (-1, 1), mean=[0.1] * 3)
    text = " ".join(shown(net).text)
    assert "-1 to 1" in text
    assert "0.1, 0.1, 0.1; none" in text
    assert EVIL in text
    assert "26" in text
    data = LabelledImages(torch.rand(60, 1, 3, 3), torch.arange(60) % 2, ("a", "b"))
    tags = shown(fit_mixture(data, components=2, rank=2)[0])
    assert "4, 2 a class" in " ".join(tags.text)
    assert len(tags.pictures) == 4
    space = TangentSpace(torch.eye(9)[:, :3].expand(4, -1, -1), torch.tensor([3, 3, 2, 3]), residual=torch.ones(4))
    text = " ".join(shown(space).text)
    assert "2 to 3, mean 2.75" in text
    assert f"{2.75 / 9:.3g}" in text


class Display:
    """IPython, of which only what is displayed is kept."""

    def __init__(self):
        self.shown, self.updates = [], []

    def display(self, content, display_id):
        assert display_id is True
        self.shown.append(content)
        return SimpleNamespace(update=self.updates.append)


@pytest.fixture
def kernel(monkeypatch):
    """A notebook's kernel."""
    display = Display()
    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    module.HTML, module.display = str, display.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return display


def tiny_measurement(**options):
    torch.manual_seed(0)
    data = LabelledImages(torch.rand(60, 1, 4, 4), torch.arange(60) % 2, ("a", "b"))
    config = tangency.MeasureConfig(metrics=("cosine",), sigmas=(0.25,), rho_sigmas=(), epsilons=(), directions=1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    x, y, train = data.images()[40:47], data.labels[40:47], data.subset(slice(0, 40))
    return tangency.measure(net, x, y, train_data=train, score="gaussian", config=config, batch_size=3, **options)


def test_measure_shows_a_bar_in_a_notebook_and_nothing_elsewhere(kernel, capsys):
    rows = tiny_measurement()
    (first,) = kernel.shown
    assert "measuring" in first
    assert 'value="0.0000"' in first
    assert "7 of 7 images" in kernel.updates[-1]
    assert Tags(kernel.updates[-1]).open == []
    sys.modules.pop("IPython")
    assert not notebook.in_notebook()
    again = tiny_measurement()
    assert len(kernel.shown) == 1
    assert torch.equal(rows["tangent_fraction.margin"], again["tangent_fraction.margin"])
    assert capsys.readouterr() == ("", "")


def test_a_study_shows_a_bar_for_each_phase_in_a_notebook_and_nothing_elsewhere(kernel, capsys):
    jobs = [Job(name, name, {}, cost) for name, cost in (("a", 3.0), ("b", 1.0))]
    with watched(None) as watch:
        watch("training", jobs, None)
        watch("training", jobs, Event(jobs[0], "lost"))
        watch("training", jobs, Event(jobs[0], "done", 1.0))
        watch("training", jobs, Event(jobs[1], "done", 1.0))
        watch("measuring", [], None)
    assert ["training" in kernel.shown[0], "measuring" in kernel.shown[1], len(kernel.shown)] == [True, True, 2]
    assert "of 2 tasks, 1 lost and tried again" in kernel.updates[-1]
    assert "was done before" in kernel.shown[1]
    sys.modules.pop("IPython")
    with watched(None) as watch:
        watch("training", jobs, None)
    assert len(kernel.shown) == 2
    seen = []
    with watched(lambda *given: seen.append(given)) as watch:
        watch("training", jobs, None)
    assert seen == [("training", jobs, None)]
    assert capsys.readouterr() == ("", "")


def test_measure_reports_every_batch_to_its_caller():
    steps = []
    tiny_measurement(on_progress=lambda part, share: steps.append((part, round(share, 3))))
    assert steps == [("0 of 7 images", 0), ("3 of 7 images", 0.429), ("6 of 7 images", 0.857), ("7 of 7 images", 1)]


def test_a_bar_changes_a_few_times_a_second_and_at_the_end(kernel, monkeypatch):
    clock = iter([0.0, 0.1, 0.2, 0.5, 0.6, 2.0])
    monkeypatch.setattr(notebook.time, "monotonic", lambda: next(clock))
    with notebook.bars() as report:
        for share in (0.0, 0.1, 0.2, 0.5, 1.0):
            report("<b>", "part", share)
    texts = [update.partition("</progress> ")[2] for update in kernel.updates]
    assert texts == ["50% part, 0 s so far</div>", "part, 1 s</div>"]
    assert "&lt;b&gt;" in kernel.shown[0]


def test_the_command_line_shows_the_same_bar_in_a_notebook(kernel):
    from tangency.cli.progress import advancing

    with advancing("fitting", quiet=False) as report:
        report("epoch 1", 0.5)
    assert "fitting" in kernel.shown[0]
