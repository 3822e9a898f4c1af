"""The result in sentences: what it covers is said where it does not cover all."""

from dataclasses import replace

import pytest

from perceptio.reporting.content import Headline, ReportContent
from perceptio.reporting.sentences import limits, result_sentence

MEASURED = Headline(metric="mean average precision", value=0.5, split="test", num_samples=5)


@pytest.mark.parametrize(
    ("headline", "expected"),
    [
        (MEASURED, "Mean average precision of 50.0 % on 5 test samples."),
        (
            replace(MEASURED, num_unread=4),
            "Mean average precision of 50.0 % on 5 of 9 test samples; 4 could not be read.",
        ),
        (
            replace(MEASURED, metric="accuracy", split="all of photos", num_unread=1200),
            "50.0 % of 5 of 1,205 samples, all of photos, were classified correctly; 1,200 could not be read.",
        ),
    ],
)
def test_the_result_says_how_many_samples_it_leaves_out(headline: Headline, expected: str):
    assert result_sentence(headline) == expected


def test_what_was_left_out_is_a_limit():
    content = ReportContent(run="photos", recipe="image", headline=replace(MEASURED, num_unread=4))
    assert "It leaves out 4 of 9 test samples, which could not be read." in limits(content)
    assert not any("leaves out" in limit for limit in limits(replace(content, headline=MEASURED)))
