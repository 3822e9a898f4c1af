import re

import pytest

from perceptio.data.limits import Limits
from perceptio.data.names import check_classes, check_record_name, printable, split_of, suffix_of
from perceptio.errors import DataError, FileError

PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"  # "wants", with the joiner that its spelling asks for
SCIENTIST = "\U0001f469\u200d\U0001f52c"  # a woman and a microscope, joined into one picture


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("kœt/ä b.jpg", "kœt/ä b.jpg"),
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("bad\udcff", "bad\\udcff"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("a\x00\t\x7f\x9b\u200b\udce9", r"a\x00\t\x7f\x9b\u200b\udce9"),
        ("s\xadoft \u061c\u2066\ufeff\U000e0041", r"s\xadoft \u061c\u2066\ufeff\U000e0041"),
        ("Größe 犬 <b> \\n", "Größe 犬 <b> \\n"),
    ],
)
def test_names_are_safe_on_any_screen(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(name).isprintable()


def test_joiners_and_wide_spaces_are_letters_of_a_name() -> None:
    for name in (PERSIAN, SCIENTIST, "犬\u3000柴"):
        assert printable(name) == name
    names = check_classes([PERSIAN, SCIENTIST, "cat"], Limits(), where="d/")
    assert names == ("cat", PERSIAN, SCIENTIST)


@pytest.mark.parametrize("hidden", "\u200b\u200e\u200f\u061c\u202a\u202e\u2066\u2069\ufeff\xad\n\x9b\U000e0041")
def test_what_turns_text_around_or_cannot_be_seen_is_in_no_class_name(hidden: str) -> None:
    escape = hidden.encode("unicode_escape").decode()
    message = f"^{re.escape(f'd/ has a class name with unprintable characters: a{escape}b; rename it')}$"
    with pytest.raises(DataError, match=message):
        check_classes(["x", f"a{hidden}b"], Limits(), where="d/")


@pytest.mark.parametrize(("name", "message"), [("a\udcff", "not valid UTF-8"), ("a\tb", "control characters")])
def test_names_that_no_list_can_hold_are_refused(name: str, message: str) -> None:
    with pytest.raises(FileError, match=f"^its name .*{message}.*; rename it$"):
        check_record_name(name)


def test_unicode_names_are_fine() -> None:
    check_record_name("猫/été 1.jpg")


@pytest.mark.parametrize(("name", "suffix"), [("A.JPG", ".jpg"), ("a.tar.gz", ".gz"), ("noext", ""), (".hidden", "")])
def test_suffix(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "^d/ has no class; there must be at least two to tell apart$"),
        (["cat"], "^d/ has only one class, cat; there must be at least two to tell apart$"),
        (["a", "b", "c", "d"], r"^d/ has 4 classes; the limit is 3 \(--source.limits.max-classes\)$"),
        (["a", " "], "^d/ has a class without a name; every class needs one$"),
        (["a", "\u200c\u200d"], "^d/ has a class without a name; every class needs one$"),
        (["a", "b" * 11],
         r"^d/ has a class name of 11 characters; the limit is 10 \(--source.limits.max-name-characters\): b+"),
        (["cafe\u0301", "caf\u00e9", "tea"],
         r"^d/ has the class caf.* twice, its letters composed otherwise in Unicode \('cafe\\u0301' and 'caf\\xe9'\); "
         "give them one name$"),
        (["a", "b\x1b"], r"^d/ has a class name with unprintable characters: b\\x1b; rename it$"),
    ],
)  # fmt: skip
def test_bad_classes(classes: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_classes(classes, Limits(max_classes=3, max_name_characters=10), where="d/")


def test_classes_are_sorted_bytewise() -> None:
    assert check_classes(["é", "b", "B", "a", "b"], Limits(), where="d/") == ("B", "a", "b", "é")


@pytest.mark.parametrize("word", ["val", "Valid", "validation", "DEV"])
def test_split_words(word: str) -> None:
    assert split_of(word, where="m.csv") == "validation"


def test_an_unknown_split_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"^m\.csv, line 3: 'trian' is no split\. Nearest: train\."):
        split_of("trian", where="m.csv, line 3")
