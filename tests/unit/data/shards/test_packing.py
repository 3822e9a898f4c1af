"""What is packed is what is read back, byte by byte, name by name."""

import fcntl
import hashlib
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from perceptio.data.limits import Limits
from perceptio.data.records import Record, Skipped
from perceptio.data.shards.checking import check_index
from perceptio.data.shards.packing import pack
from perceptio.data.shards.patterns import find_shards
from perceptio.data.sources import open_source
from perceptio.errors import DataError, PerceptioError, UsageError
from support.samples import ArraySource
from support.shards import content_of, labels_of, read, write_tar

LIMITS = Limits()


def open_folder(folder: Path):
    return open_source(str(folder), "auto", LIMITS)


def packed(folder: Path, out: Path, **options):
    return pack(open_folder(folder), out, name="photos", **options)


def test_what_would_be_no_sample_in_a_shard_is_left_out(make_tree, tmp_path: Path) -> None:
    folder = make_tree("a/1.txt", "a/2.jpg", "b/3.csv", "b/4.jpg")
    found = pack(open_source(str(folder), "auto", LIMITS, asked={".txt", ".csv"}), tmp_path / "out", name="photos")
    assert found.num_samples == 2
    assert set(found.left_out) == {
        Skipped(f"{name}{suffix}", f"in a shard {suffix} files are no samples; save it in another format")
        for name, suffix in (("a/1", ".txt"), ("b/3", ".csv"))
    }


@pytest.fixture
def photos(make_tree) -> Path:
    names = [f"{split}/{label}/{number}.jpg" for split in ("train", "test") for label in "ab" for number in range(9)]
    return make_tree(*names, "train/a/with.dots.jpg", "train/a/1.png", "train/b/é x.jpg")


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_packing_and_reading_changes_nothing(photos: Path, tmp_path: Path) -> None:
    before = hashes(photos / "train" / "a")
    done = packed(photos, tmp_path / "out", shard_bytes=2**16)
    source, shards = open_folder(photos), read(tmp_path / "out")
    assert shards.records == source.records
    assert (shards.classes, shards.multi_label, shards.skipped) == (source.classes, source.multi_label, ())
    for record in source.records:
        assert content_of(shards, record.name) == (photos / record.name).read_bytes()
    assert (done.num_samples, done.left_out, done.shards) == (
        39,
        (),
        ("photos-train-000000.tar", "photos-test-000000.tar"),
    )
    assert "splits from the shards' names: test, train" in shards.notes
    assert check_index(find_shards(str(tmp_path / "out"), LIMITS), LIMITS, full=True) == []
    assert hashes(photos / "train" / "a") == before


def test_the_webdataset_library_reads_the_same_samples(photos: Path, tmp_path: Path) -> None:
    packed(photos, tmp_path / "out")
    found = {}
    classes = (tmp_path / "out" / "classes.txt").read_text().split()
    for path in (tmp_path / "out").glob("*.tar"):
        with path.open("rb") as stream:
            for sample in group_by_keys(tar_file_expander([{"stream": stream, "url": path.name}])):
                (extension,) = {key for key in sample if not key.startswith("__")} - {"cls", "json"}
                found[sample["__key__"], extension] = (sample[extension], (classes[int(sample["cls"])],))
    shards = read(tmp_path / "out")
    own = {record.name: (content_of(shards, record.name), record.labels) for record in shards.records}
    assert sorted(found.values()) == sorted(own.values())
    plain = {f"{key}.{extension}": value for (key, extension), value in found.items()}
    same = [name for name in own if name in plain]
    assert len(same) >= len(own) - 3  # two names share a stem, one has a dot in it: their keys had to change
    assert all(plain[name] == own[name] for name in same)


def test_the_same_samples_give_the_same_bytes_and_shards_keep_their_size(make_tree, tmp_path: Path) -> None:
    folder = make_tree(*(f"{label}/{number}.bin" for label in "ab" for number in range(60)), content=bytes(5000))
    for out in ("one", "two"):
        done = packed(folder, tmp_path / out, shard_bytes=100_000)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    sizes = [(tmp_path / "one" / name).stat().st_size for name in done.shards]
    assert max(sizes) <= 100_000 < min(sizes[:-1]) + 7000
    assert sum(sizes) == done.num_bytes
    shards = read(tmp_path / "one")
    # Samples are shuffled: one shard holds all classes.
    in_first = shards.shards_of(shards.records) == 0
    assert {shards.records[row].labels[0] for row in np.flatnonzero(in_first)} == {
        "a",
        "b",
    }


def test_samples_of_several_files_groups_and_several_labels(make_tree, tmp_path: Path) -> None:
    folder = make_tree("p/1.jpg", "p/2.jpg", "s/1.jpg", "s/1.wav")
    rows = ["image,other,labels,group,split", 'p/1.jpg,s/1.wav,"a;b",g1,train', 'p/2.jpg,,"b",g2,']
    (folder / "metadata.csv").write_text("\n".join([rows[0].replace("other", "audio"), *rows[1:]]) + "\n")
    source = open_source(str(folder), "auto", LIMITS, ("image", "audio"))
    pack(source, tmp_path / "out", name="photos")
    shards = read(tmp_path / "out")
    names = [(record.name, record.labels, record.group, record.split) for record in shards.records]
    assert names == [("p/1.jpg", ("a", "b"), "g1", "train"), ("p/2.jpg", ("b",), "g2", None)]
    assert shards.multi_label
    for record, original in zip(shards.records, source.records, strict=True):
        assert [part for part, _ in record.parts] == sorted(part for part, _ in original.parts)
        for part, item in shards.load(record).items():
            with item.open() as stream:
                assert stream.read() == source.load(original)[part].read_bytes()


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("numbers", [range(12), range(1, 6), (10, 11, 12)])
def test_classes_whose_names_are_numbers_stay_what_they_are(
    make_tree, tmp_path: Path, numbers: Sequence[int], several: bool
) -> None:
    folder = make_tree(*(f"{number}/{n}.jpg" for number in numbers for n in range(2)))
    if several:
        rows = [f"{number}/{n}.jpg,{number};{numbers[0]}" for number in numbers for n in range(2)]
        (folder / "metadata.csv").write_text("\n".join(["file,labels", *rows]) + "\n")
    packed(folder, tmp_path / "out")
    assert labels_of(read(tmp_path / "out")) == {record.name: record.labels for record in open_folder(folder).records}


def test_blanks_around_a_class_name_are_refused(make_tree, tmp_path: Path) -> None:
    message = r"^the class 'cat ' has blanks around its name, which classes\.txt cannot hold; rename it$"
    with pytest.raises(DataError, match=message):
        packed(make_tree("cat /1.jpg", "dog/1.jpg"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parts_of_one_kind_keep_apart(make_tree, tmp_path: Path) -> None:
    folder = make_tree("a/1.jpg", "b/1.jpg", "a/2.jpg", "b/2.jpg")
    (folder / "metadata.csv").write_text("left,right,label\na/1.jpg,b/1.jpg,x\na/2.jpg,b/2.jpg,y\n")
    source = open_source(str(folder), "auto", LIMITS, ("left", "right"))
    pack(source, tmp_path / "out", name="photos")
    shards = read(tmp_path / "out")
    contents = {part: item.open().read() for part, item in shards.load(shards.records[0]).items()}
    assert contents == {"left": b"a/1.jpg", "right": b"b/1.jpg"}


def test_what_cannot_be_packed_is_left_out_and_named(make_tree, tmp_path: Path) -> None:
    folder = make_tree("a/1.jpg", "b/1.jpg", "a/nosuffix")
    (folder / "a" / "empty.jpg").touch()
    done = packed(folder, tmp_path / "out")
    empty, bare = Skipped("a/empty.jpg", "empty file (0 bytes)"), Skipped("a/nosuffix", "its name has no suffix")
    assert set(done.left_out) == {empty, bare}
    assert sorted(labels_of(read(tmp_path / "out"))) == ["a/1.jpg", "b/1.jpg"]


def test_arrays_become_pictures_without_loss(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    arrays = {str(number): drawn.integers(0, 256, (5, 7), dtype=np.uint8) for number in range(4)}
    records = tuple(Record(name=name, labels=("cat" if int(name) % 2 else "dog",)) for name in arrays)
    pack(ArraySource(records=records, arrays=arrays, classes=("cat", "dog")), tmp_path / "out", name="train")
    shards = read(tmp_path / "out")
    assert labels_of(shards) == {record.name: record.labels for record in records}
    for record in shards.records:
        (item,) = shards.load(record).values()
        assert item.name == f"{record.name}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(item.open())), arrays[record.name])
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == ["samples-000000.tar"]  # "train" names a split


def test_an_output_that_is_not_empty_and_a_size_that_is_none(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r" exists and is not an empty folder; choose another$"):
        packed(photos, photos)
    with pytest.raises(UsageError, match=r"^--shard-bytes must be at least 65,536: got 1,000$"):
        packed(photos, tmp_path / "out", shard_bytes=1000)


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Refuses every byte of a file beyond these, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_refuses_is_told_with_the_file_and_the_bytes_and_keeps_nothing_unfinished(
    make_tree, tmp_path: Path
) -> None:
    folder = make_tree(*(f"{label}/{number}.bin" for label in "ab" for number in range(20)), content=bytes(5000))
    message = (
        r"^photos-000000\.tar could not be written: File too large: .*out \(10\d,\d{3} bytes to write, [\d,]+ free\)\. "
        r"Make room, then pack anew into an empty folder$"
    )
    with pytest.raises(PerceptioError, match=message), files_of_at_most(100_000):
        packed(folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert packed(folder, tmp_path / "out").num_samples == 40


def test_a_pack_that_is_stopped_leaves_no_unfinished_shard(photos: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packed(photos, tmp_path / "out", progress=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_pack_left_is_removed_and_what_another_writes_is_not(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    left = out / ".photos-train-000000.tar.tmp"
    left.write_bytes(b"half")
    with left.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        message = r"^another process packs into .*out; wait for it, or choose another folder$"
        with pytest.raises(UsageError, match=message):
            packed(photos, out)
    packed(photos, out)
    assert sorted(hashes(out)) == ["classes.txt", "index.jsonl", "photos-test-000000.tar", "photos-train-000000.tar"]


def test_a_shard_that_is_being_written_is_locked(photos: Path, tmp_path: Path) -> None:
    def pack_too(done: int, total: int) -> None:
        packed(photos, tmp_path / "out")

    with pytest.raises(UsageError, match=r"^another process packs into .*out; wait for it, or choose another folder$"):
        packed(photos, tmp_path / "out", progress=pack_too)


def test_a_check_finds_what_a_disk_or_a_copy_did(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed(photos, out)

    def problems(*, full: bool = False) -> list[str]:
        return check_index(find_shards(str(out), LIMITS), LIMITS, full=full)

    shard = out / "photos-train-000000.tar"
    whole = shard.read_bytes()
    (member,) = read(out).load(read(out).records[-1]).values()
    damaged = bytearray(whole)
    damaged[member.offset] ^= 1
    shard.write_bytes(damaged)
    assert problems() == []
    assert problems(full=True) == [
        "photos-train-000000.tar: its bytes are not those that were packed: their hash is not that in index.jsonl"
    ]
    shard.write_bytes(whole[:-5000])
    assert problems() == [
        f"photos-train-000000.tar: has {len(whole) - 5000:,} bytes, and {len(whole):,} by index.jsonl"
    ]
    shard.write_bytes(whole[:512] + b"x" * (len(whole) - 512))
    (problem,) = problems()
    assert problem.startswith("photos-train-000000.tar: damaged: no header of a member stands at byte ")
    names = [f"other{number}.jpg" for number in range(2)]
    write_tar(shard, dict.fromkeys(names, b"x"))
    shard.write_bytes(shard.read_bytes().ljust(len(whole), b"\0"))
    assert problems() == ["photos-train-000000.tar: holds other members than index.jsonl says"]
    shard.write_bytes(whole.replace(b"0" + bytes(511), b"1" + bytes(511)))
    assert problems() == ["photos-train-000000.tar: gives other labels than index.jsonl says"]
    shard.rename(out / "new.tar")
    (out / "new.tar").write_bytes(whole)
    assert problems() == ["new.tar: is not in index.jsonl", "photos-train-000000.tar: is in index.jsonl and not there"]
    (out / "index.jsonl").write_bytes(b"{}")
    assert problems() == ["index.jsonl is not used: is an index of format None; 1 is read"]


def test_samples_that_a_cut_took_are_named_by_the_index(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed(photos, out)
    whole = labels_of(read(out))
    shard = out / "photos-train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-15_000])
    source = read(out)
    lost = {entry.name for entry in source.skipped}
    assert 3 < len(lost) < 15
    assert len(labels_of(source)) + len(lost) == len(whole)
    assert all(": its shard photos-train-000000.tar is cut off: it ends" in entry.reason for entry in source.skipped)
    assert all(entry.reason.startswith("lost: its shard ") for entry in source.skipped)
