"""What no linter knows: the size of files and functions, and constructs that the house style bans."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from perceptio.modalities.registry import MODALITIES

SOURCE = Path(__file__).resolve().parents[2] / "src" / "perceptio"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 600, 60


def functions_in(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function; those of functions inside it are theirs (a maker of compiled loops holds several)."""
    inside = [node for node in function.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return function.end_lineno - function.lineno + 1 - sum(node.end_lineno - node.lineno + 1 for node in inside)


def long_functions(tree: ast.AST) -> list[str]:
    return [function.name for function in functions_in(tree) if own_lines(function) > MAX_FUNCTION_LINES]


def with_keyword_soup(tree: ast.AST) -> list[str]:
    return [function.name for function in functions_in(tree) if function.args.kwarg is not None]


def modality_branches(tree: ast.AST) -> list[int]:
    """Lines that compare something called kind with the name of a kind of files, or a modality with any text."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            names = {side.id if isinstance(side, ast.Name) else getattr(side, "attr", "") for side in sides}
            texts = texts_in(sides)
            if ("kind" in names and texts & set(MODALITIES)) or ("modality" in names and texts):
                found.append(node.lineno)
        if isinstance(node, ast.MatchValue) and texts_in([node.value]) & set(MODALITIES):
            found.append(node.value.lineno)
    return found


def texts_in(nodes: list[ast.expr]) -> set[str]:
    """The texts that expressions are, or that a tuple, list or set of them holds."""
    parts = [part for node in nodes for part in (node, *getattr(node, "elts", ()))]
    return {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def silent_about_errors(tree: ast.Module) -> list[str]:
    """Public functions and methods that raise an error themselves, and whose docstring does not say so."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    public = [
        node
        for body in (tree.body, *(node.body for node in classes))
        for node in body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    return [
        function.name
        for function in public
        if any(isinstance(node, ast.Raise) and node.exc is not None for node in own_nodes(function))
        and not re.search("raises|refuses", ast.get_docstring(function) or "", re.IGNORECASE)
    ]


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """What stands in a function and in no function inside it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield node
            yield from own_nodes(node)


def cuda_calls_at_import(tree: ast.Module) -> list[int]:
    """Lines outside of functions that name torch.cuda."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for part in ast.walk(node)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "cuda" and id(node) not in inside
    ]


def test_the_sources_are_found():
    assert len(FILES) > 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_keeps_the_house_rules(path: Path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_FILE_LINES
    assert long_functions(tree) == []
    assert with_keyword_soup(tree) == []
    assert path.parent.name == "modalities" or modality_branches(tree) == []
    assert path.parent.name == "cli" or silent_about_errors(tree) == []
    assert cuda_calls_at_import(tree) == []


def test_each_rule_can_fail():
    long = "def f():\n" + "    pass\n" * MAX_FUNCTION_LINES
    assert long_functions(ast.parse(long)) == ["f"]
    assert long_functions(ast.parse(long.rsplit("    pass\n", 1)[0])) == []
    assert with_keyword_soup(ast.parse("def f(**kwargs): ...")) == ["f"]
    assert modality_branches(ast.parse("if self.modality == 'image': ...\nif modality in ('a', 'b'): ...")) == [1, 2]
    assert modality_branches(ast.parse("if kind in ('png', 'video'): ...\nif kind == 'png': ...")) == [1]
    assert modality_branches(ast.parse("match kind:\n    case 'audio': ...\n    case 'wav': ...")) == [2]
    silent = "def f():\n    'Does.'\n    raise ValueError('no')\ndef _g(): raise ValueError('no')\n"
    assert silent_about_errors(ast.parse(silent)) == ["f"]
    assert silent_about_errors(ast.parse(silent.replace("Does.", "Does; raises ValueError."))) == []
    assert silent_about_errors(ast.parse("def f():\n    def g(): raise ValueError('no')\n    raise")) == []
    assert cuda_calls_at_import(ast.parse("import torch\nx = torch.cuda.is_available()\ndef f(): torch.cuda")) == [2]
