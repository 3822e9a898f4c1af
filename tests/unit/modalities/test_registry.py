"""Adding a modality adds no branch: one that is defined here, in under thirty lines, goes all the way."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import perceptio
from perceptio.data.limits import Limits
from perceptio.errors import FileError, UsageError
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.modalities.contract import Candidate, Content, Facts, Modality
from perceptio.modalities.image import ImageModality
from perceptio.modalities.registry import MODALITIES, find_modality, register
from perceptio.shapes import Tensor
from support.pictures import CLASSES


@dataclass(frozen=True, kw_only=True)
class PulseModality(Modality):
    """Files of bytes, each a pulse of so many values."""

    kind: ClassVar[str] = "pulse"
    suffixes: ClassVar[frozenset[str]] = frozenset({".pulse"})
    length: int = 31
    seconds: ClassVar[None] = None

    def input_config(self) -> GridInputConfig:
        return GridInputConfig(axes=(self.length,), channels=1, encoding=GridEncoding(num_bands=5))

    def shrunk(self) -> Modality:
        return self

    def describe(self) -> str:
        return f"{self.length} values"

    def probe(self, path: Path, limits: Limits) -> Facts:
        if path.stat().st_size != self.length:
            raise FileError(f"holds {path.stat().st_size} values; expected {self.length}")
        return {"length": self.length}

    def check(self, path: Path, limits: Limits) -> None:
        self.probe(path, limits)

    def open(self, item: Path, limits: Limits) -> Content:
        self.probe(item, limits)
        return Pulse(np.frombuffer(item.read_bytes(), np.uint8)[:, None])

    def prepare(self, values: Tensor) -> Tensor:
        return values.float() / 128 - 1

    def picture(self, values: np.ndarray) -> np.ndarray:
        return values.T[..., None].repeat(8, axis=0)

    def spread(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return scores[None]

    @classmethod
    def candidates(cls, facts: Sequence[Facts]) -> tuple[Candidate, ...]:
        return (Candidate(modality=cls(), why="31 values: all of them"),)


@dataclass(frozen=True)
class Pulse:
    values: np.ndarray
    seconds: None = None

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        return self.values if random is None else np.roll(self.values, random.integers(-2, 3), axis=0)

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def pulses() -> Iterator[None]:
    register(PulseModality)
    yield
    del MODALITIES["pulse"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place of high values early, in the middle or late in the pulse: the class."""
    random = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (tmp_path / "pulses" / name).mkdir(parents=True)
        for sample in range(12):
            values = random.integers(0, 60, 31, dtype=np.uint8)
            values[10 * number + 2 : 10 * number + 8] += 150
            (tmp_path / "pulses" / name / f"{sample:02d}.PULSE").write_bytes(values.tobytes())
    return tmp_path / "pulses"


def test_a_modality_of_ones_own_is_short():
    """Counted without the heads of its methods, which the contract gives, and without blank lines."""
    lines = [*inspect.getsource(PulseModality).splitlines(), *inspect.getsource(Pulse).splitlines()]
    code = [line for line in lines if line.strip() and not line.strip().startswith(("@", "def ", "class ", '"""'))]
    assert len(code) < 30


@pytest.mark.slow
def test_it_trains_evaluates_predicts_and_attends(folder: Path, tmp_path: Path):
    (folder / "disc" / "short.pulse").write_bytes(b"123")
    trained = perceptio.train(data=folder, epochs=8, out=tmp_path / "run", device="cpu", workers=0)
    assert trained.test["accuracy"] >= 0.8, "by chance 0.33"
    assert (tmp_path / "run" / "skipped.csv").read_text().splitlines() == [
        "file,reason", "disc/short.pulse,holds 3 values; expected 31"
    ]  # fmt: skip
    run = perceptio.load(tmp_path / "run")
    assert run.evaluate().values == trained.test
    labels = [(Path(found.file).parent.name, found.label, found.error) for found in run.predict([folder])]
    assert len(labels) == 37
    assert sum(true == label for true, label, _ in labels) >= 30
    assert [error for *_, error in labels if error] == ["holds 3 values; expected 31"]
    attention = run.attend(folder / "disc" / "03.PULSE")
    (picture,) = attention.save(tmp_path / "attention.png")
    assert picture.stat().st_size > 1_000
    assert attention.streams["pulse"].scores.shape[2:] == (31,)
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_kind_is_registered_once():
    assert register(PulseModality) is PulseModality, "again is no harm"

    @dataclass(frozen=True, kw_only=True)
    class Other(PulseModality):
        kind: ClassVar[str] = "image"

    with pytest.raises(UsageError, match=r"^there is a modality 'image' already; give yours another `kind`$"):
        register(Other)
    assert find_modality("image") is ImageModality


def test_a_kind_that_no_other_process_could_import_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PulseModality, "__module__", "__main__")
    message = (
        r"^PulseModality is defined in the script itself, where the processes that read files cannot import it; put it "
        r"into a module of its own, and import that$"
    )
    with pytest.raises(UsageError, match=message):
        register(PulseModality)


def test_an_unknown_kind_names_the_nearest():
    assert find_modality("pulse") is PulseModality
    with pytest.raises(UsageError, match=r"^unknown kind 'imgae'\. Nearest: image\.$"):
        find_modality("imgae")


def test_every_kind_bears_the_name_it_is_found_by():
    assert all(modality.kind == kind for kind, modality in MODALITIES.items())
    assert all(suffix == suffix.lower() and suffix[0] == "." for m in MODALITIES.values() for suffix in m.suffixes)
