from pathlib import Path

import pytest

from perceptio.data.limits import Limits
from perceptio.data.shards.patterns import expand_braces, find_shards, looks_like_shards
from perceptio.data.shards.remote import scheme_of
from perceptio.errors import DataError, UsageError

LIMITS = Limits()


def test_patterns_count_and_list() -> None:
    assert expand_braces("a-{008..011}.tar", LIMITS) == ("a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar")
    assert expand_braces("{a,b}-{0..1}.tar", LIMITS) == ("a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar")
    assert expand_braces("plain.tar", LIMITS) == ("plain.tar",)
    with pytest.raises(UsageError, match=r"^\{5\.\.3\} counts backwards; write \{3\.\.5\}$"):
        expand_braces("{5..3}.tar", LIMITS)
    message = r"^\{0\.\.99999999\} stands for more than 100,000 shards \(--source.limits.max-shards\)$"
    with pytest.raises(UsageError, match=message):
        expand_braces("{0..99999999}.tar", LIMITS)
    message = r"^\{0\.\.9\}\{0\.\.9\} stands for more than 99 shards \(--source.limits.max-shards\)$"
    with pytest.raises(UsageError, match=message):
        expand_braces("{0..9}{0..9}", Limits(max_shards=99))


@pytest.mark.parametrize(
    "url",
    [
        "pipe:cat /etc/passwd",
        "ftp://a/b.tar",
        "memory://a.tar",
        "simplecache::http://a/b.tar",
        "http://a/b.tar::file://c",
    ],
)
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r": shards are opened by file://, http://, https://, s3:// or by a path$"):
        scheme_of(url)


def test_paths_are_no_urls() -> None:
    for path in ("photos/", "/a/b.tar", "C:\\photos", "a:b.tar", "x-{0..3}.tar"):
        assert scheme_of(path) is None
    assert [scheme_of(url) for url in ("HTTPS://a/b", "s3://a/b", "file:///a")] == ["https", "s3", "file"]


def test_a_folder_gives_its_shards_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", ".c.tar", "classes.txt"):
        (tmp_path / name).write_bytes(b"")
    expected = (str(tmp_path / "a.tar"), str(tmp_path / "b.tar"))
    for place in (str(tmp_path), f"{tmp_path}/", f"file://{tmp_path}"):
        found = find_shards(place, LIMITS)
        assert (found.places, found.beside, found.is_remote) == (expected, f"{tmp_path}/", False)
        assert looks_like_shards(place)


def test_a_folder_keeps_to_the_limit_of_shards(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar", "c.tar"):
        (tmp_path / name).write_bytes(b"")
    assert len(find_shards(str(tmp_path), Limits(max_shards=3)).places) == 3
    with pytest.raises(DataError, match=r"/ holds more than 2 shards \(--source\.limits\.max-shards\)$"):
        find_shards(str(tmp_path), Limits(max_shards=2))


def test_compressed_shards_and_folders_without_any_say_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r" holds no \.tar files; perceptio data pack makes them$"):
        find_shards(str(tmp_path), LIMITS)
    assert not looks_like_shards(str(tmp_path))
    (tmp_path / "a.tar.gz").write_bytes(b"")
    message = (
        r"^a\.tar\.gz is compressed, so that none of its members can be reached without unpacking all before it; "
        r"unpack it to a plain \.tar: photos are compressed already$"
    )
    for place in (tmp_path, tmp_path / "a.tar.gz", "http://host/a.tar.gz"):
        assert looks_like_shards(str(place))
        with pytest.raises(DataError, match=message):
            find_shards(str(place), LIMITS)
