import json
import random

import pytest

from perceptio.data.limits import Limits
from perceptio.data.shards.index import index_bytes, read_index, shard_names
from perceptio.data.shards.scan import ShardTable
from perceptio.errors import FileError

LIMITS = Limits()


def table(**changes) -> ShardTable:
    values = {
        "name": "a.tar", "size": 10_240, "names": ["1.jpg", "2.jpg"], "offsets": [512, 1536], "sizes": [5, 700],
        "samples": [0, 1], "labels": ["0", ["cat", "dog"]], "facts": {"1": {"group": "g"}},
        "refused": [["x", "why"]], "left_out": {"hidden": 3}, "state": "7", "digest": "ab", "problem": "cut",
    }  # fmt: skip
    return ShardTable(**{**values, **changes})


def changed(**changes) -> bytes:
    lines = [json.loads(line) for line in index_bytes([table()]).splitlines()]
    lines[1].update(changes)
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def test_an_index_comes_back_as_it_was_and_is_written_the_same_each_time() -> None:
    tables = [table(), table(name="b.tar", labels=[None, "1"])]
    content = index_bytes(tables)
    assert read_index(content, LIMITS) == {"a.tar": tables[0], "b.tar": tables[1]}
    assert shard_names(content, LIMITS) == ["a.tar", "b.tar"]
    assert index_bytes(list(read_index(content, LIMITS).values())) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged index: a line is no JSON"),
        (b"[1]\n", "damaged index: a line is no JSON object"),
        (b'{"format": 2}\n', "is an index of format 2; 1 is read"),
        (b'{"format": 1, "shards": "a"}\n', "does not list its shards"),
        (
            b'{"format": 1, "shards": ["a", "a"]}\n',
            "lists shards twice, or more than 100,000 (--source.limits.max-shards)",
        ),
        (b'{"format": 1, "shards": ["../a.tar"]}\n', "lists shards that do not lie beside it"),
        (b'{"format": 1, "shards": ["a\\ud800.tar"]}\n', "lists shards that do not lie beside it"),
        (b'{"format": 1, "shards": ["a.tar"]}\n', "truncated index: it lists 1 shards and describes 0"),
        (changed(name="b.tar"), "damaged index: it describes other shards than it lists"),
        (changed(size="9"), "damaged index: a shard is described by other values than it should be"),
        (changed(more=1), "damaged index: a shard is described by other values than it should be"),
        (changed(sizes=[5]), "damaged index: its columns differ in length"),
        (changed(sizes=[5, True]), "damaged index: a place is no number"),
        (changed(offsets=[512, 1.5]), "damaged index: a place is no number"),
        (changed(offsets=[0, 1536]), "damaged index: a member lies outside of its shard"),
        (changed(offsets=[512, 1537]), "damaged index: a member lies outside of its shard"),
        (changed(sizes=[5, 10_000]), "damaged index: a member lies outside of its shard"),
        (changed(sizes=[-5, 700]), "damaged index: a member lies outside of its shard"),
        (changed(samples=[0, 2]), "damaged index: a file belongs to no sample"),
        (changed(samples=[-1, 0]), "damaged index: a file belongs to no sample"),
        (changed(names=["1.jpg", "../2.jpg"]), "damaged index: it names a member that no shard may have"),
        (changed(names=["1.jpg", "1.jpg"]), "damaged index: it names a member twice, or by no text"),
        (changed(names=["1.jpg", 2]), "damaged index: it names a member twice, or by no text"),
        (changed(labels=[0, None]), "damaged index: a label is neither a name nor a list of names"),
        (changed(labels=["0", [1]]), "damaged index: a label is neither a name nor a list of names"),
        (changed(facts={"1": 1}), "damaged index: what it says about samples is no table"),
        (changed(refused=[["x"]]), "damaged index: a refused member has no name and reason"),
    ],
)  # fmt: skip
def test_an_index_of_anybody_is_checked(content: bytes, message: str) -> None:
    with pytest.raises(FileError) as error:
        read_index(content, LIMITS)
    assert str(error.value) == message


def test_an_index_keeps_to_the_limit_of_members() -> None:
    content = index_bytes([table()])
    read_index(content, Limits(max_shard_members=2))
    message = r"^lists 2 members of a shard; the limit is 1 \(--source\.limits\.max-shard-members\)$"
    with pytest.raises(FileError, match=message):
        read_index(content, Limits(max_shard_members=1))


def test_flipped_bytes_raise_nothing_but_file_errors() -> None:
    content = index_bytes([table()])
    draw = random.Random(0)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] = draw.choice(b'0"[]{},:\\ax\xff')
        try:
            read_index(bytes(damaged), LIMITS)
        except FileError:
            refused += 1
    assert refused > 300


def test_a_hundred_thousand_samples_are_read_in_one_go() -> None:
    count = 100_000
    large = table(
        size=2048 * count, names=[f"folder/{number:08d}.jpg" for number in range(count)],
        offsets=[512 + 2048 * number for number in range(count)], sizes=[1000] * count, samples=list(range(count)),
        labels=[str(number % 1000) for number in range(count)], facts={},
    )  # fmt: skip
    content = index_bytes([large])
    assert len(read_index(content, LIMITS)["a.tar"].names) == count
    assert len(content) < 60 * count
