"""Every message that the code can show to a user is read by a test: rule, value and way out alike.

What this proves: for each clause of each message there is a test that compares with all of it, and with no more of
another message. A message that changes makes a test fail; a message that nobody wrote a test for fails here.

What it does not prove: that the test reaches the very line that shows the message (two lines with one text are one to
it), and that the value in the message is the right one. The tests that it finds say so. What counts as a message and as
a comparison stands in `support.messages`, which has tests of its own.
"""

from pathlib import Path

from support.messages import Sources, texts_below, unread

ROOT = Path(__file__).resolve().parents[2]
OWN = {"tests.contracts.test_messages", "tests.support.test_messages"}
"""Tests about the rule itself: their texts read nothing."""


def test_every_message_is_read():
    messages = Sources(texts_below(ROOT / "src" / "perceptio")).messages()
    assert len(messages) > 400
    tests = {name: text for name, text in texts_below(ROOT / "tests").items() if name not in OWN}
    left = [f"{message}  {gaps}" for message, gaps in unread(messages, tests.values()).items()]
    assert not left, "\n".join(["clauses that no test reads:", *left])
