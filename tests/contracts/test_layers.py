"""What no linter knows: the size of files and functions, and constructs that the house style bans."""

import ast
from pathlib import Path

import pytest

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
    """Lines that compare something called modality with a text."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            names = {side.id if isinstance(side, ast.Name) else getattr(side, "attr", "") for side in sides}
            texts = [side for side in sides if isinstance(side, ast.Constant) and isinstance(side.value, str)]
            if "modality" in names and texts:
                found.append(node.lineno)
    return found


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
    assert modality_branches(tree) == []
    assert cuda_calls_at_import(tree) == []


def test_each_rule_can_fail():
    long = "def f():\n" + "    pass\n" * MAX_FUNCTION_LINES
    assert long_functions(ast.parse(long)) == ["f"]
    assert long_functions(ast.parse(long.rsplit("    pass\n", 1)[0])) == []
    assert with_keyword_soup(ast.parse("def f(**kwargs): ...")) == ["f"]
    assert modality_branches(ast.parse("if self.modality == 'image': ...\nif modality in ('a', 'b'): ...")) == [1]
    assert cuda_calls_at_import(ast.parse("import torch\nx = torch.cuda.is_available()\ndef f(): torch.cuda")) == [2]
