"""Shards instead of folders: nothing that a run decides changes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import perceptio
from perceptio.data.splits import SplitConfig
from perceptio.errors import DataError, UsageError
from perceptio.recipes.automatic import choose_config
from perceptio.runs.config import SourceConfig, absolute_data
from perceptio.runs.data import prepare_data, survey_data
from perceptio.runs.evaluate import evaluate_run
from perceptio.runs.opening import show_data
from perceptio.runs.screen import SilentScreen
from perceptio.runs.shards import check_data, pack_data
from support.configs import tiny_config
from support.kinds import MAKERS
from support.pictures import CLASSES, make_picture_folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_picture_folder(tmp_path / "pictures", per_class=10)


def pack_all(data: Path, out: Path, **options):
    return pack_data(str(data), out, source=SourceConfig(), **options)


def survey(path: Path, **fields):
    return survey_data(str(path), SourceConfig(**fields))


def test_training_on_shards_gives_the_same_bytes_as_on_the_folder(pictures: Path, tmp_path: Path) -> None:
    pack_all(pictures, tmp_path / "shards")
    config = replace(tiny_config(), epochs=1.0)
    results = []
    for name in ("pictures", "shards"):
        out = tmp_path / f"run-{name}"
        results.append(perceptio.train(config, data=tmp_path / name, out=out, device="cpu", workers=0))
    one, other = (result.folder for result in results)
    for file in ("split.csv", "skipped.csv", "predictions.csv"):
        assert (one / file).read_bytes() == (other / file).read_bytes()
    assert results[0].test == results[1].test
    models = [(folder / "model.safetensors").read_bytes() for folder in (one, other)]
    length = len(models[0]) // 2  # the header names the data; the weights stand behind it
    assert models[0][-length:] == models[1][-length:]
    measured = evaluate_run(other, data=str(tmp_path / "shards"), device="cpu", workers=0)
    assert len(measured.predictions.indices) == 30


def test_a_survey_is_the_same_and_so_is_the_split(pictures: Path, tmp_path: Path) -> None:
    (pictures / "disc" / "copy.png").write_bytes((pictures / "disc" / "03.png").read_bytes())
    (pictures / "disc" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    pack_all(pictures, tmp_path / "shards")
    folder, shards = survey(pictures), survey(tmp_path / "shards")
    assert shards.fingerprint == folder.fingerprint
    assert (shards.copies, shards.skipped, shards.facts) == (folder.copies, folder.skipped, folder.facts)
    chosen = choose_config(folder, has_gpu=False).config
    assert prepare_data(shards, chosen).splits == prepare_data(folder, chosen).splits


def test_several_kinds_are_told_from_shards_as_from_a_folder(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for label in CLASSES:
        (tmp_path / "both" / label).mkdir(parents=True)
        for number in range(4):
            for kind in ("image", "audio"):
                MAKERS[kind](tmp_path / "both" / label / f"{number}", label, draw)
    pack_all(tmp_path / "both", tmp_path / "shards")
    folder, shards = survey(tmp_path / "both"), survey(tmp_path / "shards")
    assert sorted(shards.streams.by_name) == ["audio", "image"]
    assert (shards.usable, shards.fingerprint) == (folder.usable, folder.fingerprint)


def test_splits_are_drawn_while_packing_if_asked(pictures: Path, tmp_path: Path) -> None:
    drawn = pack_all(pictures, tmp_path / "out", split=SplitConfig(validation=0.2, test=0.2), seed=3)
    assert [name.split("-")[1] for name in drawn.shards] == ["train", "validation", "test"]
    found = survey(tmp_path / "out")
    config = replace(tiny_config(), seed=3, split=SplitConfig(validation=0.2, test=0.2))
    expected = prepare_data(survey(pictures), config).splits
    assert {record.name: record.split for record in found.usable} == expected


def test_nothing_is_written_into_the_data(pictures: Path) -> None:
    message = r"pictures/shards lies in the data itself, which is never written to; choose a folder beside it$"
    with pytest.raises(UsageError, match=message):
        pack_all(pictures, pictures / "shards")


def test_a_few_shards_at_a_time_need_shards(pictures: Path, tmp_path: Path) -> None:
    config = replace(tiny_config(), epochs=1.0, source=SourceConfig(shards_together=1))
    message = r"^--source\.shards-together 1 has no effect: .*pictures is no set of shards; leave it at 0$"
    with pytest.raises(UsageError, match=message):
        perceptio.train(config, data=pictures, out=tmp_path / "run", device="cpu", workers=0)
    pack_all(pictures, tmp_path / "shards", shard_bytes=2**16)
    run = perceptio.train(config, data=tmp_path / "shards", out=tmp_path / "run-2", device="cpu", workers=0)
    assert run.ended == "finished"
    with pytest.raises(ValueError, match=r"^shards_together must be at least 0 \(everything\), got -1$"):
        SourceConfig(shards_together=-1)


def test_a_url_means_the_same_from_everywhere() -> None:
    assert absolute_data("https://host/photos/", "auto") == "https://host/photos/"


def test_a_check_says_what_training_would_skip(pictures: Path, tmp_path: Path) -> None:
    (pictures / "disc" / "00.png").write_bytes((pictures / "disc" / "01.png").read_bytes()[:90])
    assert check_data(str(pictures), full=False).problems == ()
    checked = check_data(str(pictures), full=True)
    assert checked.problems == ("disc/00.png: truncated PNG file: it ends after 90 bytes",)
    assert checked.lost_share == pytest.approx(1 / 30)
    pack_all(pictures, tmp_path / "shards")
    assert check_data(str(tmp_path / "shards"), full=True).problems == checked.problems


class KeptFacts(SilentScreen):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def fact(self, label: str, text: str) -> None:
        self.told.append(text)


def test_half_of_the_data_cut_away_is_refused_without_an_index_too(pictures: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    packed = pack_all(pictures, shards, shard_bytes=2**16)
    assert len(packed.shards) > 1
    (shards / "index.jsonl").unlink()
    for name in packed.shards[:-1]:
        os.truncate(shards / name, (shards / name).stat().st_size // 2)
    with pytest.raises(DataError, match=r"(?s)of \d+ files in .* cannot be used: .* an estimated \d+ lost"):
        survey(shards)
    found = survey(shards, max_skipped=0.9)
    lost = sum(entry.num_samples for entry in found.skipped)
    total = len(found.usable) + lost
    screen = KeptFacts()
    show_data(found, screen, listed_in="skipped.csv")
    assert f"{total} samples decoded: {len(found.usable)} used, {lost} skipped" in screen.told


def test_a_check_tells_each_problem_of_a_shard_without_an_index_once(pictures: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    (name, *_) = pack_all(pictures, shards, shard_bytes=2**16).shards
    (shards / "index.jsonl").unlink()
    (shards / "bad.tar").write_bytes(b"<html>" * 200)
    size = (shards / name).stat().st_size - 3000
    os.truncate(shards / name, size)
    bad, cut = check_data(str(shards), full=True).problems
    assert bad.startswith("bad.tar: damaged: no header of a member stands at byte 0; 0 whole samples ")
    assert cut.startswith(f"{name}: cut off: it ends after {size:,} bytes, ")
