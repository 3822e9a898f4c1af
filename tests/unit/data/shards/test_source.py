"""What samples a set of shards holds, by WebDataset's conventions and with its own library as the oracle."""

import io
import os
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset

from perceptio.data.limits import Limits
from perceptio.data.records import Skipped
from perceptio.data.shards import tables
from perceptio.data.shards.source import read_shards, splits_of
from perceptio.data.sources import open_source
from perceptio.errors import DataError, FileError, UsageError
from support.shards import content_of, labels_of, read, write_tar

LIMITS = Limits()


def test_what_the_webdataset_library_writes_is_read(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    written = {}
    with webdataset.ShardWriter(str(tmp_path / "set-%03d.tar"), maxcount=4, verbose=0) as writer:
        for number in range(11):
            sample = {"__key__": f"deep/folder/{number:04d}", "bin": drawn.bytes(700 * number + 1), "cls": number % 3}
            writer.write({**sample, "json": {"about": number}})
            written[f"{sample['__key__']}.bin"] = (str(number % 3), sample["bin"])
    source = read(tmp_path)
    assert {name: (label, content_of(source, name)) for name, (label,) in labels_of(source).items()} == written
    assert (source.classes, source.multi_label, source.skipped, len(source.shards)) == (("0", "1", "2"), False, (), 3)
    assert source.notes == ("11 files in 3 shards of 0.1 MB together",)


def test_a_source_is_cheap_to_send_and_reads_elsewhere(make_shards) -> None:
    source = read(
        make_shards({"a.tar": {f"{n}.jpg": b"x" * n for n in (1, 2, 3)} | {f"{n}.cls": b"%d" % n for n in (1, 2, 3)}})
    )
    again = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert content_of(again, "3.jpg") == b"xxx"
    assert again.shards_of(again.records).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("about", "classes", "label"),
    [
        ({"cls": b"1"}, "cat\ndog\n", "dog"),
        ({"cls": b" dog\n"}, "cat\ndog\n", "dog"),
        ({"cls": b"dog"}, "", "dog"),
        ({"cls": b"1"}, "", "1"),
        ({"json": b'{"label": "dog"}'}, "", "dog"),
        ({"json": b'{"label": 1}'}, "cat\ndog", "dog"),
        ({"json": b'{"cls": 1}'}, "cat\ndog", "dog"),
        ({"json": b'"dog"'}, "", "dog"),
        ({"txt": "dog é".encode()}, "", "dog é"),
        ({"cls": b"dog", "json": b'{"label": "cat"}', "txt": b"a photo"}, "", "dog"),
        ({"json": b'{"label": "dog"}', "txt": b"a photo"}, "", "dog"),
        ({"json": b"{not json", "txt": b"dog"}, "", "dog"),
    ],
)
def test_the_label_of_a_sample(make_shards, about: dict[str, bytes], classes: str, label: str) -> None:
    members = {"1.jpg": b"1", **{f"1.{key}": value for key, value in about.items()}, "2.jpg": b"2", "2.cls": b"cat"}
    source = read(make_shards({"a.tar": members}, classes))
    assert labels_of(source) == {"1.jpg": (label,), "2.jpg": ("cat",)}


def test_several_labels_a_sample(make_shards) -> None:
    members = {"1.jpg": b"1", "1.json": b'{"labels": [0, "dog", "dog"]}', "2.jpg": b"2", "2.json": b'{"labels": []}'}
    source = read(make_shards({"a.tar": members}, "cat\ndog\n"))
    assert (source.multi_label, labels_of(source)) == (True, {"1.jpg": ("cat", "dog"), "2.jpg": ()})


def test_without_labels_the_folders_are_the_classes(make_shards) -> None:
    members = {"./photos/cat/1.jpg": b"1", "./photos/dog/sub/2.jpg": b"2", "./photos/._cat": b"x", "./photos/a.md": b""}
    source = read(make_shards({"a.tar": members}))
    assert labels_of(source) == {"photos/cat/1.jpg": ("cat",), "photos/dog/sub/2.jpg": ("dog",)}
    assert "no member gives a label: classes are the folders in the members' names" in source.notes
    assert "members left out: 1 hidden, 1 .md" in source.notes


def test_samples_without_a_label_are_skipped_and_named(make_shards) -> None:
    members = {"1.jpg": b"1", "1.cls": b"0", "2.jpg": b"2", "3.jpg": b"3", "3.cls": b"7", "4.jpg": b"4", "4.cls": b"1"}
    source = read(make_shards({"a.tar": members}, "cat\ndog\n"))
    assert sorted(labels_of(source)) == ["1.jpg", "4.jpg"]
    assert source.skipped == (
        Skipped("2.jpg", "has no label: no .cls member, no label in a .json member, no .txt member"),
        Skipped("3.jpg", "has the label '7', which classes.txt does not name"),
    )
    source = read(make_shards({"a.tar": {"loose.jpg": b"", "a/1.jpg": b"1", "b/1.jpg": b"1"}}))
    reason = "has no label: neither a .cls, .json or .txt member nor a folder in its name"
    assert source.skipped == (Skipped("loose.jpg", reason),)


def test_members_that_are_no_samples_are_left_out_and_no_pickle_is_read(make_shards) -> None:
    members = {"1.jpg": b"1", "1.mask.png": b"m", "1.pyd": b"\x80evil", "1.cls": b"0", "2.pth": b"\x80", "2.cls": b"1"}
    members |= {"3.seg.png": b"3", "3.cls": b"1", "readme": b"", "page.html": b""}
    source = read(make_shards({"a.tar": members}))
    assert labels_of(source) == {"1.jpg": ("0",), "3.seg.png": ("1",)}
    assert source.notes[-1] == (
        "members left out: 2 pickle, 1 no suffix, 1 .html, 1 further files of samples, such as 1.mask.png "
        "(pickles are never read: they run what they say)"
    )


def test_names_that_could_do_harm_are_refused_and_links_are_not_followed(tmp_path: Path) -> None:
    names = [
        "../up.jpg",
        "/etc/a.jpg",
        "a\\b.jpg",
        "a/../../b.jpg",
        "n\x01.jpg",
        "x" * 1100 + ".jpg",
        "good.jpg",
        "b.jpg",
    ]
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in names:
            for extension in ("", ".cls"):
                entry = tarfile.TarInfo(name if not extension else name.replace(".jpg", extension))
                entry.size = 1
                archive.addfile(entry, io.BytesIO(b"0" if name == "b.jpg" else b"1"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            entry = tarfile.TarInfo("link.jpg")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    source = read(path)
    assert sorted(labels_of(source)) == ["b.jpg", "good.jpg"]
    reasons = {skipped.reason for skipped in source.skipped}
    assert reasons == {
        "its name leads out of the shard; pack it anew with plain names",
        "its name holds control characters; rename it",
        "its name has 1,104 bytes; the limit is 1,024 (--source.limits.max-member-name-bytes)",
    }
    assert "members left out: 4 links and devices" in source.notes
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_a_name_that_stands_twice_and_a_member_that_is_too_large(make_shards, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in (("1.jpg", b"a"), ("1.cls", b"0"), ("2.jpg", b"b"), ("2.cls", b"1"), ("1.jpg", b"c")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    source = read(path)
    assert (content_of(source, "1.jpg"), source.skipped) == (
        b"a",
        (Skipped("1.jpg", "its name stands twice in the shard"),),
    )
    folder = make_shards(
        {"b.tar": {"1.jpg": b"a" * 9, "1.cls": b"0", "2.jpg": b"b", "2.cls": b"1", "3.jpg": b"c", "3.cls": b"0"}}
    )
    small = read_shards(str(folder), Limits(max_member_bytes=8))
    assert small.skipped == (Skipped("1.jpg", "has 9 bytes; the limit is 8 (--source.limits.max-member-bytes)"),)


def test_the_same_names_in_several_shards_are_other_samples(make_shards) -> None:
    shard = {"1.jpg": b"1", "1.cls": b"0", "2.jpg": b"2", "2.cls": b"1"}
    source = read(make_shards({"a.tar": shard, "b.tar": {**shard, "1.jpg": b"other"}}))
    assert sorted(labels_of(source)) == ["a.tar/1.jpg", "a.tar/2.jpg", "b.tar/1.jpg", "b.tar/2.jpg"]
    assert content_of(source, "b.tar/1.jpg") == b"other"
    assert "shards use the same names for different members: samples are called SHARD/NAME" in source.notes


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["photos-train-000.tar", "photos-val-000.tar"], ["train", "validation"]),
        (["test.tar", "TRAIN_1.tar"], ["test", "train"]),
        (["photos-train-000.tar", "photos-000.tar"], []),
        (["constrain-0.tar"], []),
        (["train-test-0.tar"], []),
    ],
)
def test_splits_come_from_names_if_all_bear_one(names: list[str], splits: list[str]) -> None:
    found, notes = splits_of(names)
    assert [found[name] for name in names if name in found] == splits
    assert notes == ([f"splits from the shards' names: {', '.join(sorted(splits))}"] if splits else [])


def samples_of(pictures: dict[int, bytes]) -> dict[str, bytes]:
    return {
        f"{number}.{extension}": content
        for number, picture in pictures.items()
        for extension, content in (("jpg", picture), ("cls", b"%d" % (number % 2)))
    }


def two_shards(count: int = 20) -> dict[str, dict[str, bytes]]:
    return {
        f"{shard}.tar": {
            f"{shard}{number:02d}.{extension}": content
            for number in range(count)
            for extension, content in (("jpg", bytes([number]) * 2000), ("cls", b"%d" % (number % 2)))
        }
        for shard in "ab"
    }


def test_the_whole_samples_before_a_cut_are_used_and_the_rest_is_counted(make_shards) -> None:
    folder = make_shards(two_shards())
    whole = read(folder)
    os.truncate(folder / "b.tar", int((folder / "b.tar").stat().st_size * 0.3))
    source = read(folder)
    (lost,) = source.skipped
    kept = [name for name in labels_of(source) if name.startswith("b")]
    assert 4 < len(kept) < 8
    assert all(content_of(source, name) == content_of(whole, name) for name in labels_of(source) if name[0] == "a")
    assert lost.name == "b.tar"
    assert lost.num_samples == 20 - len(kept)
    rest = f"{len(kept)} whole samples before that are used, {lost.num_samples} lost"
    assert re.fullmatch(rf"cut off: it ends after [\d,]+ bytes, .*; {rest}", lost.reason)


def cut(folder: Path, names: str, size: int) -> None:
    for name in names:
        os.truncate(folder / f"{name}.tar", size)


def lost_in(folder: Path) -> dict[str, tuple[int, bool]]:
    """Returns how many samples each shard has lost, and whether that is estimated."""
    return {entry.name: (entry.num_samples, "an estimated" in entry.reason) for entry in read(folder).skipped}


def test_what_a_cut_shard_held_is_known_from_an_earlier_reading_and_stays_known(make_shards) -> None:
    folder = make_shards({**two_shards(20), "c.tar": {"c.jpg": b"c", "c.cls": b"0"}})
    read(folder)
    cut(folder, "ab", 30_000)
    for _ in range(2):
        assert lost_in(folder) == {"a.tar": (12, False), "b.tar": (12, False)}


def test_what_is_known_of_another_shard_of_the_same_name_tells_nothing(make_shards) -> None:
    folder = make_shards({**two_shards(20), "c.tar": two_shards(9)["a.tar"]})
    read(folder)
    write_tar(folder / "b.tar", {f"x{name}": content for name, content in two_shards(12)["b.tar"].items()})
    cut(folder, "b", 30_000)
    assert lost_in(folder) == {"b.tar": (6, True)}  # of the others a.tar holds 20, and c.tar 9


@pytest.mark.parametrize(
    ("others", "lost"),
    [
        ([20, 20, 1], 12),  # shards that hold more than the 8 that are left
        ([9, 10, 20, 20, 20], 12),
        ([9, 20], 6),
        ([1, 2], 8),  # none is like it: a cut is as likely before the middle as behind it
        ([], 8),
    ],
)
def test_what_nobody_knows_is_estimated(make_shards, others: list[int], lost: int) -> None:
    shards = {f"{name}.tar": two_shards(count)["a.tar"] for name, count in zip("bcdef", others, strict=False)}
    folder = make_shards({"a.tar": two_shards(30)["a.tar"], **shards})
    cut(folder, "a", 30_000)
    assert lost_in(folder) == {"a.tar": (lost, True)}


def test_where_all_shards_are_cut_the_largest_says_most(make_shards) -> None:
    folder = make_shards({**two_shards(), "c.tar": two_shards()["a.tar"]})
    cut(folder, "ab", 17_000)
    cut(folder, "c", 30_000)
    assert lost_in(folder) == {"a.tar": (4, True), "b.tar": (4, True), "c.tar": (8, True)}


def test_a_last_sample_that_lacks_its_label_is_no_whole_one(make_shards) -> None:
    folder = make_shards(two_shards(3))
    last = next(entry for entry in read(folder).records if entry.name == "b02.jpg")
    (member,) = read(folder).load(last).values()
    os.truncate(folder / "b.tar", member.offset + 2048)  # all of the picture, and nothing of its label
    assert [name for name in labels_of(read(folder)) if name[0] == "b"] == ["b00.jpg", "b01.jpg"]


def test_a_shard_that_is_gone_or_no_tar_counts_as_many_samples_as_a_whole_one(make_shards) -> None:
    folder = make_shards({**two_shards(), "c.tar": {}})
    (folder / "c.tar").write_bytes(b"<html>" * 200)
    source = read(folder)
    assert source.skipped == (
        Skipped(
            "c.tar",
            "damaged: no header of a member stands at byte 0; 0 whole samples before that are used, an estimated 20 "
            "lost",
            20,
        ),
    )
    missing = read(f"{folder}/{{a,b,d}}.tar")
    assert missing.skipped == (Skipped("d.tar", "no such file", 20),)
    for name in ("a.tar", "b.tar", "c.tar"):
        (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"^no shard of .* can be read; a\.tar: empty file \(0 bytes\)$"):
        read(folder)


def test_nothing_to_learn_from(make_shards) -> None:
    with pytest.raises(DataError, match=r"set holds no sample \(members left out: 1 pickle \(pickles are never read"):
        read(make_shards({"a.tar": {"1.pkl": b"x"}}))
    with pytest.raises(DataError, match=r"set holds no sample: 1\.jpg: has no label"):
        read(make_shards({"a.tar": {"1.jpg": b"x"}}))


def test_a_shard_that_was_relabelled_and_given_its_old_time_is_read_anew(make_shards) -> None:
    """Size and time of modification are what they were, as after `cp -p` or from an archive."""
    members = {"1.jpg": b"1", "1.cls": b"cat", "2.jpg": b"2", "2.cls": b"dog"}
    folder = make_shards({"a.tar": members})
    assert labels_of(read(folder)) == {"1.jpg": ("cat",), "2.jpg": ("dog",)}
    shard = folder / "a.tar"
    times = (shard.stat().st_atime_ns, shard.stat().st_mtime_ns)
    write_tar(shard, {**members, "1.cls": b"dog", "2.cls": b"cat"})
    os.utime(shard, ns=times)
    assert labels_of(read(folder)) == {"1.jpg": ("dog",), "2.jpg": ("cat",)}


def test_numbers_are_lines_of_classes_txt_unless_one_is_a_name_and_no_line(make_shards) -> None:
    members = {"1.jpg": b"1", "1.cls": b"1", "2.jpg": b"2", "2.cls": b"2", "3.jpg": b"3", "3.cls": b"3"}
    by_place = read(make_shards({"a.tar": members}, "7\n3\n1\n2\n"))
    assert [labels for _, labels in sorted(labels_of(by_place).items())] == [("3",), ("1",), ("2",)]
    by_name = read(make_shards({"a.tar": members}, "2\n1\n3\n"))
    assert [labels for _, labels in sorted(labels_of(by_name).items())] == [("1",), ("2",), ("3",)]


def test_classes_txt_must_be_a_list_of_names(make_shards) -> None:
    members = {"a.tar": {"1.jpg": b"1", "1.cls": b"0", "2.jpg": b"1", "2.cls": b"1"}}
    with pytest.raises(DataError, match=r"^classes\.txt names 'cat' twice; every class needs its own name$"):
        read(make_shards(members, "cat\ncat\n"))
    folder = make_shards(members)
    (folder / "classes.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"^classes\.txt is not valid UTF-8; save it as UTF-8$"):
        read(folder)
    (folder / "classes.txt").write_bytes(b"cat\ndog\n")
    os.truncate(folder / "classes.txt", 2**40)
    message = r"^classes\.txt has 1,099,511,627,776 bytes; the limit is 102,600,000 "
    with pytest.raises(DataError, match=message):
        read(folder)


def test_the_second_reading_takes_the_users_cache_until_a_shard_changes(make_shards, monkeypatch) -> None:
    folder = make_shards(two_shards(3))
    scanned = []
    original = tables.scan_shard
    monkeypatch.setattr(
        tables, "scan_shard", lambda stream, name, *rest: (scanned.append(name), original(stream, name, *rest))[1]
    )
    first = read(folder)
    assert scanned == ["a.tar", "b.tar"]
    again = read(folder)
    assert scanned == ["a.tar", "b.tar"]
    assert (again.records, again.notes) == (first.records, first.notes)
    write_tar(folder / "b.tar", {"9.jpg": b"9", "9.cls": b"0"})
    assert "9.jpg" in labels_of(read(folder))
    assert scanned == ["a.tar", "b.tar", "b.tar"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.tar", "b.tar"]


def test_a_limit_that_is_raised_lets_in_what_it_refused(make_shards) -> None:
    folder = make_shards(two_shards(3))
    with pytest.raises(DataError, match=r"has 2,000 bytes; the limit is 1,999 \(--source\.limits\.max-member-bytes\)$"):
        read_shards(str(folder), Limits(max_member_bytes=1999))
    assert read_shards(str(folder), Limits(max_member_bytes=2000)).skipped == ()


def test_a_shard_that_is_written_anew_in_mid_run_gives_no_wrong_bytes(make_shards) -> None:
    folder = make_shards(two_shards(3))
    source = read(folder)
    write_tar(folder / "b.tar", {"x" + name: content for name, content in two_shards(3)["b.tar"].items()})
    with pytest.raises(FileError, match=r"^its shard is another one than was indexed: something else stands in its"):
        content_of(source, "b01.jpg")


def test_auto_tells_shards_from_folders_that_hold_an_archive(make_shards, make_tree) -> None:
    folder = make_shards(two_shards(3))
    assert len(open_source(str(folder), "auto", LIMITS).records) == 6
    assert len(open_source(f"{folder}/a.tar", "auto", LIMITS).records) == 3
    assert len(open_source(f"{folder}/{{a,b}}.tar", "auto", LIMITS).records) == 6
    tree = make_tree("cat/1.jpg", "dog/1.jpg", "backup.tar")
    assert len(open_source(str(tree), "auto", LIMITS).records) == 2
    with pytest.raises(UsageError, match=r"^no folder sat/ in .*did you mean set/ \?$"):
        open_source(str(folder.parent / "sat"), "shards", LIMITS)
