"""The table of limits in the documentation is that of the code."""

import dataclasses
import re
from pathlib import Path

from perceptio.data.limits import Limits

PAGE = Path(__file__).resolve().parents[3] / "docs" / "hostile-files.md"
ROW = re.compile(r"^\| `--source\.limits\.([a-z-]+)` \| ([0-9,]+) \| .+ \|$", re.MULTILINE)


def test_every_limit_stands_in_the_table_with_its_default() -> None:
    found = {name.replace("-", "_"): int(value.replace(",", "")) for name, value in ROW.findall(PAGE.read_text())}
    assert found == dataclasses.asdict(Limits())
