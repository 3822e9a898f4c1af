"""The rule on messages finds what it must find, and can fail."""

import ast

import pytest

from support.messages import Message, Sources, expectations, pieces, text_of, unread

ERRORS = "from perceptio.errors import FileError, DataError\n"


def messages_of(text: str, **others: str) -> list[str]:
    sources = Sources({"perceptio.here": ERRORS + text} | {f"perceptio.{name}": text for name, text in others.items()})
    return [message.text.replace("\0", "{}") for message in sources.messages()]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise FileError('holds no faces')", ["holds no faces"]),
        ("raise ValueError(f'size must be {low} at least: got {size}')", ["size must be {} at least: got {}"]),
        ("def f():\n    return FileError('made, not raised')", ["made, not raised"]),
        ("raise FileError('first half ' if x else 'other half')", ["first half ", "other half"]),
        ("raise FileError(f'has {\"no colours\" if x else \"no normals\"}')", ["no colours", "no normals"]),
        ("def f():\n    why = 'it is damaged'\n    raise FileError(f'no: {why}')", ["it is damaged"]),
        ("def _why():\n    return 'it is damaged'\nraise FileError(_why())", ["it is damaged"]),
        ("class A:\n def _why(self): return 'is broken'\n def f(self): raise DataError(self._why())", ["is broken"]),
        ("class A:\n def why(self): return 'is broken'\nraise DataError(given.why())", ["is broken"]),
        ("class A:\n def why(self): return 'is broken'\nraise DataError(text.join(names))", []),
        ("report(TrainingWarning(step=1, text='memory did not suffice'))", ["memory did not suffice"]),
        ("WHY = {1: 'is a folder'}\nraise FileError(WHY.get(1, 'cannot be read'))", ["is a folder", "cannot be read"]),
        ("REASONS = {1: 'is a folder'}\nraise FileError(REASONS[1])", ["is a folder"]),
        ("raise type(error)(f'in the part {part}') from error", ["in the part {}"]),
        ("class MineError(FileError):\n    def __init__(self): super().__init__('needs a part')", ["needs a part"]),
        ("import warnings\nwarnings.warn('slower than it could be', stacklevel=2)", ["slower than it could be"]),
        ("Skipped(name='a', reason='no longer there')", ["no longer there"]),
        ("notes.append(f'columns ignored: {names}')", ["columns ignored: {}"]),
        ("print(f'error: unknown command {name}', file=sys.stderr)", ["error: unknown command {}"]),
        ("screen.fact('Warning', 'passed over a checkpoint')", ["passed over a checkpoint"]),
        ("console.print('warning: no checkpoint')", ["warning: no checkpoint"]),
        ("raise AssertionError('tries must be at least 1')", []),
        ("print('a result')\nscreen.fact('Data', 'fifteen files')\nraise FileError(name)\nraise", []),
        ("raise FileError(f'{a}: {b}')", []),
    ],
)  # fmt: skip
def test_a_message_is_found(source: str, expected: list[str]):
    assert sorted(messages_of(source)) == sorted(expected)


def test_helpers_of_other_files_are_followed_and_their_texts_belong_there():
    there = "KINDS = {1: 'a pipe or so'}\ndef why(): return f'it begins with {head}'"
    sources = Sources(
        {
            "perceptio.here": "from perceptio.there import why, KINDS\nraise FileError(why(), KINDS[1])",
            "perceptio.there": there,
        }
    )
    assert [(m.file, m.line) for m in sources.messages()] == [("perceptio.there", 1), ("perceptio.there", 2)]


def test_a_message_falls_into_clauses():
    message = Message("here", 1, "size must be at least 1: got \0. Use \0, or leave it away; \0 files do not fit")
    assert message.clauses == ("size must be at least 1", "or leave it away", "files do not fit")


TEST = "def test():\n    with pytest.raises(ValueError, match={!r}): ...\n"


def gaps(source: str, *tests: str) -> list[str]:
    left = unread(Sources({"perceptio.here": source}).messages(), tests)
    return [clause for clauses in left.values() for clause in clauses]


def test_an_unread_message_is_told():
    source = "raise ValueError(f'size must be 1 at least: got {size}. Use a larger picture')"
    rule, way_out = "size must be 1 at least", "Use a larger picture"
    assert gaps(source) == [rule, way_out]
    assert gaps(source, TEST.format("size must be 1 at least")) == [way_out]
    assert gaps(source, TEST.format("size must be 1 at least"), TEST.format("Use a larger picture")) == []
    assert gaps(source, TEST.format(r"^size must be 1 at least: got 0\. Use a larger picture$")) == []
    assert gaps(source, TEST.format(r"size must be 1 at .*Use a larger.* picture")) == [rule, way_out]


def test_a_test_of_another_message_reads_nothing():
    source = (
        "raise ValueError(f'{name} must be at least 1, got')\nraise ValueError('num_bands must be at least 1, got')"
    )
    assert gaps(source, TEST.format("num_bands must be at least 1, got")) == ["must be at least 1, got"]
    assert gaps(source, TEST.format("num_heads must be at least 1, got")) == ["num_bands must be at least 1, got"]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("assert text == 'compared'", ["compared"]),
        ("assert 'compared' in told.err, 'a hint'", ["compared"]),
        ("pytest.raises(ValueError, match=re.escape('compared'))", ["compared"]),
        ("@pytest.mark.parametrize('message', ['compared'])\ndef test(): ...", ["message", "compared"]),
        ("MESSAGE = f'compared {with_value}'", ["compared \0"]),
        ("for message in ('one', 'two'): ...", ["one", "two"]),
        ("def test():\n    'What a docstring says.'\n    write('what a test writes')", []),
    ],
)
def test_only_what_is_compared_counts(test: str, expected: list[str]):
    assert list(expectations(ast.parse(test))) == expected


def test_a_regular_expression_is_taken_apart():
    found = pieces(r"^no \.npz file: .* of (\d+) \(limit [a-z]+\), or a?$")
    assert {"no .npz file: ", " of ", " (limit ", "), or "} <= found
    assert "no .npz file: .* of" not in " ".join(found - {r"^no \.npz file: .* of (\d+) \(limit [a-z]+\), or a?$"})


def test_a_value_is_marked():
    assert text_of(ast.parse("f'a {b:,} c'", mode="eval").body) == "a \0 c"
