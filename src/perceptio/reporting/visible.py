"""Names of files and classes as people can read them, whatever characters they hold."""

import re

# Control characters, what changes the direction of the text around it, invisible characters, and the lone surrogates
# that stand for undecodable bytes in file names: none may reach a page, and none can be seen in one.
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    """Returns the text with every hidden character spelt as its Python escape, such as `\\x1b` or `\\n`."""
    return _HIDDEN.sub(lambda hidden: hidden.group().encode("unicode_escape", "surrogatepass").decode(), text)
