"""Shell text read as commands: what runs, where, with which environment, and at which characters.

The grammar is tree-sitter-bash's; evaluation on top of it is static: quotes, variables that are known, ``cd``,
``export``. Whatever depends on the running machine is ``None``, never guessed. Every walk is a loop over an explicit
stack, and text that would make the parser slow is not parsed at all (``Script.broken``).
"""

from coach.shell.nouns import NOTHING, Command, Item, Redirect, Script, Word, without
from coach.shell.walk import MAX_COMMANDS, MAX_LENGTH, parse, parse_argv

__all__ = [
    "MAX_COMMANDS",
    "MAX_LENGTH",
    "NOTHING",
    "Command",
    "Item",
    "Redirect",
    "Script",
    "Word",
    "parse",
    "parse_argv",
    "without",
]
