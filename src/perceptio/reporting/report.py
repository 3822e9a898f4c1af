"""report.html: one file with everything a run has to say, which opens without a network and runs no script."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perceptio.data.names import printable
from perceptio.errors import MissingExtraError
from perceptio.reporting import numbers, sentences, tables
from perceptio.reporting.content import JudgedFile, Picture, ReportContent, SeenSample
from perceptio.reporting.curves import curve_panels, panels_png
from perceptio.reporting.images import data_uri, encode_picture
from perceptio.reporting.style import FIRST_STEP_WITH_BLACK_TEXT, MATRIX_STEPS
from perceptio.tasks.suspects import LEAST_AGREEMENT, LEAST_PROBABILITY

_LONGEST_PIXELS = 240
_LONGEST_WIDE_PIXELS = 720
_WIDE = 1.6  # from this many times as wide as high a picture gets a cell of its own width
MAX_LISTED_FILES = 200  # of skipped, duplicate or leaking files; skipped.csv holds all


@dataclass(frozen=True, kw_only=True)
class EmbeddedPicture:
    """A picture of the page: its data URI, the text for who cannot see it, and what stands below (may be empty).

    A wide one, such as a spectrogram or a strip of frames, needs more room in a gallery.
    """

    uri: str
    alt: str
    caption: str = ""
    is_wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page. Its template is `sections/<anchor>.html.j2`."""

    anchor: str
    title: str


def write_report(content: ReportContent, path: Path) -> None:
    """Writes the report as one HTML file, UTF-8, with every picture inside it.

    All text is escaped, hidden characters are spelt out, and only sections that have something to show appear.

    Raises:
        MissingExtraError: jinja2, matplotlib or Pillow is not installed.
        OSError: a picture that the content names cannot be read.
    """
    path.write_text(render_report(content), encoding="utf-8")


def render_report(content: ReportContent) -> str:
    """Returns the text of `write_report`'s file; raises as that does."""
    try:
        import jinja2
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError("writing the report", "report") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("perceptio", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_spell_out,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html.j2").render(
        content=content,
        sections=list_sections(content),
        numbers=numbers,
        tables=tables,
        result=sentences.result_sentence(content.headline) if content.headline else "",
        why_nothing_was_measured=sentences.why_nothing_was_measured(content),
        measured_on=sentences.measured_on,
        predict_command=sentences.predict_command(content),
        repeat_command=sentences.repeat_command(content),
        least_probability=LEAST_PROBABILITY,
        least_agreement=LEAST_AGREEMENT,
        weakness=sentences.weakness_sentence(content),
        curves=_curve_pictures(content),
        mistakes=[(file, _picture_of(file)) for file in content.mistakes],
        unsure=[(file, _picture_of(file)) for file in content.unsure],
        suspects=[(file, _picture_of(file)) for file in content.suspects],
        samples=[_sample_picture(sample) for sample in content.samples],
        attention=[_embed(picture) for picture in content.attention],
        matrix_colours=list(enumerate(MATRIX_STEPS)),
        first_step_with_black_text=FIRST_STEP_WITH_BLACK_TEXT,
        max_listed=MAX_LISTED_FILES,
    )


def list_sections(content: ReportContent) -> tuple[Section, ...]:
    """Returns the sections that have something to show, in the order of the page."""
    shown = (
        ("curves", "Learning curves", bool(curve_panels(content.history))),
        ("confusion", "Confusion", content.confusion is not None),
        ("classes", "Each class", bool(content.per_class)),
        ("mistakes", "Surest mistakes", bool(content.mistakes)),
        ("unsure", "Least sure", bool(content.unsure)),
        ("labels", "Labels that may be wrong", content.num_suspects is not None),
        ("samples", "What the model sees", bool(content.samples)),
        ("attention", "What it attends to", bool(content.attention)),
        ("data", "Data", content.data is not None),
        ("cost", "Cost", content.cost is not None and bool(tables.cost_rows(content.cost))),
        ("repeat", "How to repeat it", content.origin is not None),
    )
    return tuple(Section(anchor=anchor, title=title) for anchor, title, has_content in shown if has_content)


def _spell_out(expression: object) -> object:
    # Jinja calls this on every value that is printed, so no template can forget it. Markup has been through it.
    return printable(expression) if type(expression) is str else expression


def _curve_pictures(content: ReportContent) -> list[EmbeddedPicture]:
    """Returns one picture a panel, so that a phone can stack them."""
    pictures = []
    for panel in curve_panels(content.history):
        ends = "; ".join(
            f"{line.label} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in panel.series
        )
        best = "" if content.best_epoch is None else f"; best epoch {content.best_epoch}"
        uri = data_uri(panels_png([panel], content.best_epoch))
        pictures.append(EmbeddedPicture(uri=uri, alt=f"{panel.title} over the epochs: {ends}{best}."))
    return pictures


def _picture_of(file: JudgedFile) -> EmbeddedPicture | None:
    if file.image is None:
        return None
    said, probability = file.answers[0]
    return _gallery_picture(
        file.image, f"{file.file}, labelled {file.labelled}; the model says {said}, {numbers.percent(probability)}"
    )


def _sample_picture(sample: SeenSample) -> EmbeddedPicture:
    return _gallery_picture(sample.image, f"A training sample as the model sees it: {sample.labels}", sample.labels)


def _gallery_picture(image: np.ndarray, alt: str, caption: str = "") -> EmbeddedPicture:
    is_wide = image.shape[1] > _WIDE * image.shape[0]
    encoded = encode_picture(image, _LONGEST_WIDE_PIXELS if is_wide else _LONGEST_PIXELS)
    return EmbeddedPicture(uri=data_uri(encoded), alt=alt, caption=caption, is_wide=is_wide)


def _embed(picture: Picture) -> EmbeddedPicture:
    return EmbeddedPicture(uri=data_uri(picture.path.read_bytes()), alt=picture.caption, caption=picture.caption)
