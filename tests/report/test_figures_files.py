"""Figures as files: fonts, widths, letters, origin in the metadata, what is left out, and what is outdated."""

import dataclasses
import itertools
import re
import shutil
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from tangency.files import file_digest
from tangency.report import write_report
from tangency.report.draw.canvas import COLOURS, COLUMN, SMALL, STYLE, WIDTH
from tangency.report.draw.figures import PAPER, drawings, write_figures
from tangency.report.draw.saving import KINDS, FigureSource, save_figure
from tangency.report.read.run import read_run

SVG = "{http://www.w3.org/2000/svg}"
DUBLIN = "{http://purl.org/dc/elements/1.1/}"


@pytest.fixture(scope="module")
def figured(world_run, tmp_path_factory):
    """A run on a world, and the folder of its figures."""
    run = read_run(world_run)
    folder = tmp_path_factory.mktemp("figures")
    write_figures(run, folder)
    return run, folder


def test_every_counterpart_of_the_paper_is_there_in_three_formats(figured):
    run, folder = figured
    names = {drawing.name for drawing in PAPER} | {"strips-gradient_norm", "strips-pgd_l2", "story", "effective"}
    assert {drawing.name for drawing in PAPER} == {"gallery", "regimes", "objectives", "distractor", "noise"}
    written = {path.stem for path in folder.glob("*.pdf")}
    assert written >= names
    for kind in KINDS:
        assert {path.stem for path in folder.glob(f"*.{kind}")} == written
    page = (folder / "README.md").read_text()
    for drawing in drawings(run):
        line = next(line for line in page.splitlines() if re.match(rf"[|-] \*?\*?{drawing.name}\b", line))
        assert (drawing.shows in line) == (drawing.name in written)
        assert (drawing.without in line) == (drawing.name not in written)


def test_pdfs_embed_their_fonts_and_have_the_width_of_a_column_or_the_text(figured):
    for path in figured[1].glob("*.pdf"):
        reader = PdfReader(path)
        (page,) = reader.pages
        assert min(abs(float(page.mediabox.width) / 72 - width) for width in (COLUMN, WIDTH)) < 0.01, path.name
        fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]
        assert fonts, path.name
        for font in fonts:
            assert font["/Subtype"] != "/Type3", path.name
            for part in font.get("/DescendantFonts", [font]):
                descriptor = part.get_object()["/FontDescriptor"].get_object()
                assert {"/FontFile", "/FontFile2", "/FontFile3"} & descriptor.keys(), path.name


def test_a_type_three_font_would_be_seen(tmp_path):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0.5, 0.5, "σ")
    with matplotlib.rc_context({"pdf.fonttype": 3}):
        figure.savefig(tmp_path / "bad.pdf")
    (page,) = PdfReader(tmp_path / "bad.pdf").pages
    assert {font.get_object()["/Subtype"] for font in page["/Resources"]["/Font"].values()} == {"/Type3"}


def test_command_and_hashes_stand_in_the_metadata_of_every_file(figured):
    run, folder = figured
    wanted = (
        f"tangency report {run.folder.name} --figures; spec {run.summary.spec_hash}; "
        f"rows.parquet sha256 {file_digest(run.folder / 'rows.parquet')}"
    )
    for path in folder.glob("*.pdf"):
        title = f"{run.summary.name}: {path.stem}"
        about = PdfReader(path).metadata
        assert (about.subject, about.title) == (wanted, title)
        assert "/CreationDate" not in about
        tree = ElementTree.parse(path.with_suffix(".svg"))
        assert (tree.find(f".//{DUBLIN}description").text, tree.find(f".//{DUBLIN}title").text) == (wanted, title)
        with Image.open(path.with_suffix(".png")) as picture:
            assert (picture.info["Description"], picture.info["Title"]) == (wanted, title)
            assert len(picture.convert("L").getcolors() or []) > 10  # something is drawn


@pytest.mark.slow
def test_letters_are_at_least_six_points_at_the_final_size(figured):
    from matplotlib.text import Text

    for drawing in drawings(figured[0]):
        with matplotlib.rc_context(STYLE):
            figure = drawing.draw(figured[0])
            if figure is None:
                continue
            figure.draw_without_rendering()
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        assert texts
        assert min(text.get_fontsize() for text in texts) >= SMALL, drawing.name
        whole = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
        for box in (text.get_window_extent() for text in whole):  # is not cut off
            assert box.x0 >= -1, drawing.name
            assert box.x1 <= figure.bbox.width + 1, drawing.name


def test_the_same_figure_is_the_same_file(tmp_path):
    from matplotlib.figure import Figure

    contents = []
    for name in ("a", "b"):
        figure = Figure()
        figure.subplots().plot([1, 2], label="σ")
        contents.append(
            [path.read_bytes() for path in save_figure(figure, tmp_path / name, FigureSource("t", "c", {"h": "1"}))]
        )
    assert contents[0] == contents[1]


def test_a_report_writes_figures_on_request_and_removes_those_of_other_rows(world_run, tmp_path, monkeypatch):
    import tangency.report.draw.figures as module

    run = shutil.copytree(world_run, tmp_path / "run")
    shutil.rmtree(run / "report", ignore_errors=True)
    write_report(run)
    folder = run / "report" / "figures"
    assert not folder.exists()
    monkeypatch.setattr(module, "PAPER", PAPER[:1])
    monkeypatch.setattr(module, "FURTHER", ())
    monkeypatch.setattr(module, "swept", lambda trials: [])
    (folder / "x").mkdir(parents=True)
    (folder / "former.svg").touch()
    write_report(run, figures=True)
    assert {path.name for path in folder.iterdir()} == {"x", "README.md", *(f"gallery.{kind}" for kind in KINDS)}
    module.drop_outdated(read_run(run), folder)
    assert (folder / "gallery.pdf").exists()
    (run / "rows.parquet").write_bytes((run / "rows.parquet").read_bytes() + b" ")
    module.drop_outdated(dataclasses.replace(read_run(world_run), folder=run), folder)
    assert {path.name for path in folder.iterdir()} == {"x"}


# Machado, Oliveira & Fernandes 2009: what readers without one kind of cone see, in linear RGB.
SEEN = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


def nearest(colours, kind):
    """The smallest CIE 1976 distance of two colours to such readers."""

    def lab(colour):
        c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        xyz = XYZ @ np.clip(np.array(SEEN[kind]) @ linear, 0, 1) / np.array([0.9505, 1, 1.0888])
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    return min(np.linalg.norm(lab(a) - lab(b)) for a, b in itertools.combinations(colours, 2))


@pytest.mark.parametrize("kind", SEEN)
def test_colour_blind_readers_can_tell_the_colours_apart(kind):
    assert nearest(COLOURS, kind) > 15
    assert nearest(("#1f6fb2", "#7a57b5"), "deutan") < 3  # a blue and a violet that are one to them
