"""Which messages the sources can show to a user, and which of them a test reads. Both are told from the text alone.

A *message* is a string literal that reaches a user: what an error is made with, the reason of a skipped file, a
warning, a note about the data, a line on standard error. What helpers return, what names stand for and what a table of
texts holds is followed; a literal that several errors share is one message.

A message falls into *clauses*: it is cut at its values and behind `.`, `;` and `:`, so that rule and way out are apart.
A test reads a clause if a text that it compares with (`match=`, an assertion, a table of cases) holds all of it, and
holds no more of another message: what reads `num_bands must be at least 1` does not read `{name} must be at least 1`.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LETTERS = 6
"""A clause with fewer says nothing of its own, such as `got` or `and`."""
VALUE = "\0"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Message:
    """A literal that a user may see: where it stands, and its text with a mark for each value."""

    file: str
    line: int
    text: str

    @cached_property
    def clauses(self) -> tuple[str, ...]:
        """The parts that say something by themselves."""
        parts = re.split(rf"{VALUE}|(?<=[.;:])\s", self.text)
        return tuple(part.strip(" .,;:()'\"\n") for part in parts if sum(map(str.isalpha, part)) >= LETTERS)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text.replace(VALUE, '{}')}"


class Module:
    """One parsed source file: its functions, its constants, and what it imports from its own package."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.tree = ast.parse(text)
        self.functions: dict[str, Function] = {}
        self.constants: dict[str, ast.expr] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        self.function_of: dict[ast.AST, Function | None] = {}
        self._visit(self.tree, None)

    def _visit(self, node: ast.AST, function: Function | None) -> None:
        self.function_of[node] = function
        if isinstance(node, Function):
            self.functions.setdefault(node.name, node)
            function = node
        elif isinstance(node, ast.ImportFrom) and node.module:
            self.imported |= {name.asname or name.name: (node.module, name.name) for name in node.names}
        elif isinstance(node, ast.Assign) and function is None:
            self.constants |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and function is None and isinstance(node.target, ast.Name) and node.value:
            self.constants[node.target.id] = node.value
        for child in ast.iter_child_nodes(node):
            self._visit(child, function)


class Sources:
    """All files of a package, by module name."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.modules = {name: Module(name, text) for name, text in texts.items()}

    def messages(self) -> list[Message]:
        """Returns every message, sorted by place."""
        found: dict[tuple[str, int, int], Message] = {}
        for module in self.modules.values():
            for expression in shown_to_users(module.tree):
                for owner, literal in self._literals(module, expression, set()):
                    place = (owner.name, literal.lineno, literal.col_offset)
                    found[place] = Message(owner.name, literal.lineno, text_of(literal))
        return [message for _, message in sorted(found.items()) if message.clauses]

    def _literals(self, module: Module, node: ast.AST, seen: set[int]) -> Iterator[tuple[Module, ast.expr]]:
        """Walks to each literal that the value of an expression may be or hold."""
        if id(node) in seen:
            return
        seen.add(id(node))
        follow: list[tuple[Module, ast.AST]] = []
        match node:
            case ast.Constant(value=str()):
                yield module, node
            case ast.JoinedStr(values=values):
                yield module, node
                follow += [(module, part.value) for part in values if isinstance(part, ast.FormattedValue)]
            case ast.IfExp(body=body, orelse=orelse):
                follow += [(module, body), (module, orelse)]
            case ast.BoolOp(values=values) | ast.Tuple(elts=values):
                follow += [(module, value) for value in values]
            case ast.BinOp(left=left, right=right):
                follow += [(module, left), (module, right)]
            case ast.Dict(values=values):
                follow += [(module, value) for value in values]
            case ast.Subscript(value=ast.Name() as table):
                follow += [(module, table)]
            case ast.Name(id=name):
                follow += self._meanings(module, name, module.function_of.get(node))
            case ast.Call(func=ast.Name(id=name)):
                follow += self._returned(module, name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                follow += self._returned(module, name)
            case ast.Call(func=ast.Attribute(value=ast.Name() as table, attr="get"), args=[_, *default]):
                follow += [(module, table), *((module, value) for value in default)]
            case ast.Call(func=ast.Attribute(attr=name)):
                homes = [owner for owner in self.modules.values() if name in owner.functions]
                if len(homes) == 1:  # of several methods with one name, nobody knows here which one it is
                    follow += self._returned(homes[0], name)
        for owner, part in follow:
            yield from self._literals(owner, part, seen)

    def _meanings(self, module: Module, name: str, function: Function | None) -> list[tuple[Module, ast.AST]]:
        """Returns what a name may stand for: what its function assigns to it, else a constant of the module."""
        local = [
            node.value
            for node in (ast.walk(function) if function else ())
            if isinstance(node, ast.Assign | ast.AugAssign | ast.NamedExpr | ast.AnnAssign)
            and node.value is not None
            and any(
                isinstance(target, ast.Name) and target.id == name
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            )
        ]
        if local:
            return [(module, value) for value in local]
        owner, own_name = self._home(module, name)
        constant = owner.constants.get(own_name)
        return [(owner, constant)] if isinstance(constant, ast.Constant | ast.JoinedStr | ast.Dict) else []

    def _returned(self, module: Module, name: str) -> list[tuple[Module, ast.AST]]:
        owner, own_name = self._home(module, name)
        function = owner.functions.get(own_name)
        if function is None:
            return []
        returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]
        return [(owner, value) for value in returns]

    def _home(self, module: Module, name: str) -> tuple[Module, str]:
        """Returns the module that a name comes from, and its name there."""
        if name in module.functions or name in module.constants or name not in module.imported:
            return module, name
        where, own_name = module.imported[name]
        return (self.modules[where], own_name) if where in self.modules else (module, name)


def shown_to_users(tree: ast.AST) -> Iterator[ast.expr]:
    """Yields the expressions that become an error's message, a skipped file's reason, a warning or a note."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        match node.func:
            case ast.Name(id=name) if name.endswith("Error") and name != "AssertionError":
                yield from node.args
            case ast.Call(func=ast.Name(id="type")):  # the same kind of error with more to say
                yield from node.args
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__"):
                yield from node.args
            case ast.Name(id="Skipped" | "SaveFailure" | "TrainingWarning"):
                yield from (*node.args, *keywords.values())
            case ast.Attribute(value=ast.Name(id="warnings"), attr="warn"):
                yield node.args[0]
            case ast.Attribute(value=ast.Name(id="notes"), attr="append"):
                yield from node.args
            case ast.Attribute(attr="fact") if (
                isinstance(node.args[0], ast.Constant) and node.args[0].value == "Warning"
            ):
                yield node.args[1]
            case ast.Name(id="print") if "stderr" in ast.unparse(keywords.get("file", node)):
                yield from node.args
            case ast.Attribute(attr="print") if node.args and text_of(node.args[0]).startswith(("warning", "error")):
                yield from node.args


def text_of(literal: ast.AST) -> str:
    """Returns the text of a literal, with a mark in place of each value."""
    match literal:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(part) for part in values)
    return VALUE


# --- what tests compare with ---


def expectations(tree: ast.AST) -> Iterator[str]:
    """Yields the texts of a test file that something is compared with: no docstrings, nothing that a test makes."""
    for node in ast.walk(tree):
        match node:
            case ast.Assert(test=test):
                yield from _texts(test)
            case ast.keyword(arg="match", value=value):
                yield from _texts(value)
            case ast.Call(func=ast.Attribute(attr="parametrize" | "param")):
                yield from _texts(node)
            case ast.Assign(value=value):
                yield from _texts(value)
            case ast.For(iter=values):
                yield from _texts(values)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield text_of(node)
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


_NO_LITERAL = re.compile(r"(?<!\\)(?:\\[A-Za-z]|\[(?:\\.|[^\]\\])*\]|[()|^$]|.?[*+?])")
"""What stands in a regular expression for something else than itself. A lone dot is most often meant as one."""


def pieces(text: str) -> set[str]:
    """Returns what a text matches literally: the text itself, and the literal parts of it as a regular expression."""
    parts = _NO_LITERAL.split(text)
    return {part for part in (text, *(re.sub(r"\\(.)", r"\1", part) for part in parts)) if part}


# --- the comparison ---


def unread(messages: Iterable[Message], tests: Iterable[str]) -> dict[Message, tuple[str, ...]]:
    """Returns the clauses that no test reads, by message.

    Args:
        tests: the texts of the test files.
    """
    messages = list(messages)
    read: dict[Message, set[str]] = {message: set() for message in messages}
    for text in {text for test in tests for text in expectations(ast.parse(test))}:
        parts = pieces(text)
        hits = {
            message: found
            for message in messages
            if (found := {clause for clause in message.clauses if any(clause in part for part in parts)})
        }
        covered = {message: _covered(parts, found) for message, found in hits.items()}
        for message, found in hits.items():
            if not any(covered[message] < other for other in covered.values()):
                read[message] |= found
    left = {message: tuple(clause for clause in message.clauses if clause not in read[message]) for message in messages}
    return {message: clauses for message, clauses in left.items() if clauses}


def _covered(parts: set[str], clauses: set[str]) -> set[tuple[str, int]]:
    """Returns the characters of a text that clauses stand at."""
    return {
        (part, place)
        for part in parts
        for clause in clauses
        for match in re.finditer(re.escape(clause), part)
        for place in range(*match.span())
    }


def texts_below(folder: Path) -> dict[str, str]:
    """Returns the text of each Python file below a package's folder, by module name."""
    return {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): path.read_text(
            "utf-8"
        )
        for path in sorted(folder.rglob("*.py"))
    }
