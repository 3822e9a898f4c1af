"""Two kinds of files more, in a module that the processes which read files can import."""

from pathlib import Path
from typing import ClassVar

from perceptio.data.limits import Limits
from perceptio.errors import AbsentError
from perceptio.modalities.contract import Facts
from perceptio.modalities.image import ImageModality
from support.harmful import act


class Sketch(ImageModality):
    """Text files, some of whose words name what else they hold; the only word of some is what harm they do."""

    kind: ClassVar[str] = "sketch"
    suffixes: ClassVar[frozenset[str]] = frozenset({".sketch"})
    companions: ClassVar[tuple[str, ...]] = ("hum", "scent")

    def probe(self, path: Path, limits: Limits) -> Facts:
        text = path.read_text()
        act(text)
        if "noted" in text:
            path.with_suffix(".seen").touch()
        if self.kind not in text:
            raise AbsentError(f"holds no {self.kind}")
        return {"height": 5.0, "width": 7.0}


class Hum(Sketch):
    kind: ClassVar[str] = "hum"
    suffixes: ClassVar[frozenset[str]] = frozenset({".hum"})
    companions: ClassVar[tuple[str, ...]] = ()
