"""What a run shows to people: plots, report.html and the model card. Nothing here knows how a run is made."""

from perceptio.reporting.attention import AttentionMaps, draw_attention, save_attention_npz
from perceptio.reporting.confusion import draw_confusion, write_confusion_csv
from perceptio.reporting.content import (
    Cost,
    DataSummary,
    Headline,
    JudgedFile,
    Origin,
    Picture,
    Range,
    ReportContent,
    SeenSample,
    SkippedFile,
)
from perceptio.reporting.curves import draw_curves
from perceptio.reporting.model_card import write_model_card
from perceptio.reporting.report import write_report
from perceptio.reporting.samples import draw_sample_grid

__all__ = [
    "write_report",
    "write_model_card",
    "ReportContent",
    "Headline",
    "JudgedFile",
    "SeenSample",
    "Range",
    "Picture",
    "DataSummary",
    "SkippedFile",
    "Cost",
    "Origin",
    "draw_curves",
    "draw_confusion",
    "write_confusion_csv",
    "draw_sample_grid",
    "AttentionMaps",
    "draw_attention",
    "save_attention_npz",
]
