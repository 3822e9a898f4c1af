from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perceptio.data.records import Record
from perceptio.data.splits import SplitConfig, assign_splits
from perceptio.errors import DataError, UsageError


def files(**classes: int) -> list[Record]:
    return [Record(name=f"{c}/{n:04d}.jpg", labels=(c,)) for c, count in classes.items() for n in range(count)]


def test_samples_that_share_a_file_stay_together() -> None:
    """A sound that stands in several rows of a table; one that stands for missing sound in all of them joins none."""
    records = [
        Record(
            name=f"{n}.jpg",
            labels=("ab"[n % 2],),
            parts=(("audio", f"{n % 20}.wav"), ("image", f"{n}.jpg"), ("mask", "none.png")),
        )
        for n in range(80)
    ]
    splits = assign_splits(records, SplitConfig(), 0, ())
    assert set(splits.values()) == {"train", "validation", "test"}
    for sound in range(20):
        assert len({splits[f"{n}.jpg"] for n in range(sound, 80, 20)}) == 1


def counts(records, splits) -> Counter:
    return Counter((record.labels[0], splits[record.name]) for record in records)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=6),
    validation=st.floats(0.01, 0.45),
    test=st.floats(0.01, 0.45),
    seed=st.integers(0, 10**6),
)
def test_every_class_is_divided_by_the_shares(sizes: list[int], validation: float, test: float, seed: int) -> None:
    records = files(**{f"c{n}": size for n, size in enumerate(sizes)})
    splits = assign_splits(records, SplitConfig(validation=validation, test=test), seed, ())
    found = counts(records, splits)
    assert list(splits) == [record.name for record in records]
    for number, size in enumerate(sizes):
        name = f"c{number}"
        assert found[name, "train"] >= 1
        for split, share in (("validation", validation), ("test", test)):
            if size >= 3:
                assert found[name, split] >= 1
                # Whole files, and at least one of each, cost at most one file of the share and one of the other's.
                assert abs(found[name, split] - share * size) <= 2
            else:
                assert found[name, split] <= 1


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_copies_and_groups_stay_on_one_side(data, seed: int) -> None:
    num = data.draw(st.integers(6, 50))
    records = [
        Record(
            name=f"{n:03d}",
            labels=(data.draw(st.sampled_from("abc")),),
            group=data.draw(st.sampled_from([None, None, "g1", "g2", "g3"])),
        )
        for n in range(num)
    ]
    pairs = data.draw(st.lists(st.tuples(st.integers(0, num - 1), st.integers(0, num - 1)), max_size=8))
    duplicates = [(f"{a:03d}", f"{b:03d}") for a, b in pairs]
    splits = assign_splits(records, SplitConfig(), seed, duplicates)
    for names in duplicates:
        assert len({splits[name] for name in names}) == 1
    for group in ("g1", "g2", "g3"):
        assert len({splits[record.name] for record in records if record.group == group}) <= 1
    trained = {record.labels[0] for record in records if splits[record.name] == "train"}
    assert trained == {record.labels[0] for record in records}


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.lists(st.sampled_from("abcdef"), max_size=4, unique=True), min_size=4, max_size=40),
    seed=st.integers(0, 1000),
)
def test_several_labels_keep_a_training_sample_each(labels: list[list[str]], seed: int) -> None:
    records = [Record(name=f"{n:03d}", labels=tuple(names)) for n, names in enumerate(labels)]
    splits = assign_splits(records, SplitConfig(), seed, ())
    trained = {label for record in records if splits[record.name] == "train" for label in record.labels}
    assert trained == {label for record in records for label in record.labels}


def test_rare_labels_reach_every_split() -> None:
    """The rare label always comes with a more frequent one; drawing by the frequent one alone would lose it."""
    records = [Record(name=f"{n:03d}", labels=("often", "rare") if n < 3 else ("often",)) for n in range(100)]
    splits = assign_splits(records, SplitConfig(), 0, ())
    assert {splits[f"{n:03d}"] for n in range(3)} == {"train", "validation", "test"}


def test_a_label_that_always_comes_with_rarer_ones_reaches_every_split() -> None:
    """Stratified by x, y, z with two samples each, nothing is held out; b stands in three and must be."""
    labels = [("b", "x"), ("x",), ("b", "y"), ("y",), ("b", "z"), ("z",)]
    records = [Record(name=f"{n}", labels=names) for n, names in enumerate(labels)]
    splits = assign_splits(records, SplitConfig(), 0, ())
    assert {splits[record.name] for record in records if "b" in record.labels} == {"train", "validation", "test"}


def test_a_label_spread_over_others_keeps_a_training_sample() -> None:
    """b has one sample in each of four classes that keep a third in train: a fifth of the draws would leave it none."""
    records = [
        Record(name=f"{c}{n}", labels=(f"x{c}", "b") if n == 0 else (f"x{c}",)) for c in range(4) for n in range(3)
    ]
    for seed in range(40):
        splits = assign_splits(records, SplitConfig(), seed, ())
        assert any(splits[record.name] == "train" for record in records if "b" in record.labels)
        assert {r.labels[0] for r in records if splits[r.name] == "train"} == {"x0", "x1", "x2", "x3"}


def test_the_seed_decides_and_the_order_of_records_does_not() -> None:
    records = files(cat=40, dog=40)
    splits = assign_splits(records, SplitConfig(), 0, ())
    assert assign_splits(records[::-1], SplitConfig(), 0, ()) == splits
    assert assign_splits(records, SplitConfig(), 1, ()) != splits


def test_a_new_file_moves_few_others() -> None:
    records = files(cat=100, dog=100)
    before = assign_splits(records, SplitConfig(), 0, ())
    for number in range(20):
        after = assign_splits([*records, Record(name=f"cat/new{number}.jpg", labels=("cat",))], SplitConfig(), 0, ())
        assert sum(before[name] != after[name] for name in before) <= 4


def given_splits(**splits: int) -> list[Record]:
    return [
        Record(name=f"{split}/{c}/{n:03d}", labels=(c,), split=split)
        for split, count in splits.items()
        for c in ("cat", "dog")
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (given_splits(train=20, validation=5, test=5), {"train": 40, "validation": 10, "test": 10}),
        (given_splits(train=20, test=5), {"train": 34, "validation": 6, "test": 10}),
        (given_splits(train=20, validation=5), {"train": 34, "validation": 10, "test": 6}),
        (given_splits(train=20), {"train": 28, "validation": 6, "test": 6}),
        (given_splits(test=5) + files(cat=20, dog=20), {"train": 34, "validation": 6, "test": 10}),
        (given_splits(train=5) + files(cat=20, dog=20), {"train": 38, "validation": 6, "test": 6}),
        (given_splits(validation=5, test=5) + files(cat=3, dog=3), {"train": 6, "validation": 10, "test": 10}),
    ],
)
def test_given_splits_stay_and_missing_ones_are_drawn(records: list[Record], expected: dict[str, int]) -> None:
    splits = assign_splits(records, SplitConfig(), 0, ())
    assert Counter(splits.values()) == expected
    free = any(record.split is None for record in records)
    for record in records:
        if record.split is not None and (free or record.split != "train"):
            assert splits[record.name] == record.split


def test_copies_of_given_files() -> None:
    """A free copy follows; copies given to both sides stay there, for `leaks` to tell."""
    records = [*given_splits(train=9, test=3), *files(cat=9, dog=9)]
    groups = [("test/cat/000", "cat/0001.jpg"), ("train/cat/001", "test/cat/001"), ("train/dog/000", "dog/0000.jpg")]
    splits = assign_splits(records, SplitConfig(), 0, groups)
    assert splits["cat/0001.jpg"] == "test"
    assert (splits["train/cat/001"], splits["test/cat/001"]) == ("train", "test")
    assert splits["dog/0000.jpg"] == "train"


def test_a_large_group_does_not_burst_a_small_share() -> None:
    """15 of 100 samples are wanted for the test; a group of 50 that heads the queue is passed over."""
    records = [
        Record(name=f"{c}{n:03d}", labels=(c,), group="g" + c if n < 50 else None) for c in "ab" for n in range(100)
    ]
    for seed in range(20):
        splits = assign_splits(records, SplitConfig(), seed, ())
        assert counts(records, splits) == {
            (c, split): number for c in "ab" for split, number in (("train", 70), ("validation", 15), ("test", 15))
        }


def test_zero_shares() -> None:
    assert set(assign_splits(files(a=9, b=9), SplitConfig(validation=0.0, test=0.0), 0, ()).values()) == {"train"}
    assert set(assign_splits(files(a=9, b=9), SplitConfig(validation=0.0), 0, ()).values()) == {"train", "test"}


def test_folders_stay_together_also_across_classes() -> None:
    records = [
        Record(name=f"{c}/kit{kit}/{n}.wav", labels=(c,))
        for c in ("kick", "snare")
        for kit in range(9)
        for n in range(5)
    ]
    splits = assign_splits(records, SplitConfig(by="folder"), 0, ())
    for kit in range(9):
        assert len({splits[record.name] for record in records if f"/kit{kit}/" in record.name}) == 1
    assert set(splits.values()) == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("records", "by", "message"),
    [
        (
            files(a=5, b=5),
            "folder",
            r"^split\.by folder needs at least two folders inside the class folders, as in cat/visit1/a\.jpg; else use "
            r"split\.by file$",
        ),
        (
            files(a=5, b=5),
            "group",
            r"^split\.by group needs groups: add a column group to the manifest, or use split\.by file$",
        ),
        (given_splits(test=5), "file", "^no sample is left to train on: all 10 are given to test$"),
        ([], "file", "^no sample is left to train on: all 0 are given to nothing$"),
    ],
)
def test_what_cannot_be_divided(records: list[Record], by: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        assign_splits(records, SplitConfig(by=by), 0, ())


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"test": -0.1}, r"^split\.test must be at least 0 and below 1: got -0\.1$"),
        (
            {"validation": 0.6, "test": 0.4},
            r"^split\.validation and split\.test must leave something to train on: 0\.6 [+] 0\.4 is not below 1$",
        ),
    ],
)
def test_bad_shares(settings_: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SplitConfig(**settings_)


def test_a_way_to_split_that_is_none() -> None:
    """The type forbids it, which these tests check and a program of one's own does not."""
    config = SplitConfig()
    object.__setattr__(config, "by", "class")
    with pytest.raises(UsageError, match=r"^split\.by must be file, folder or group: got 'class'$"):
        config.__post_init__()
