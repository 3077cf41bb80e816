"""What texts in a policy look like, said beside their types: for the JSON Schema that editors check files by."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Shape:
    """How a text is written. `pattern` is a regular expression for the whole of it, None where any text will do."""

    meaning: str
    pattern: str | None = None


RULE_NAME = r"[a-z0-9][a-z0-9_-]{0,39}"

Glob = Annotated[
    str,
    Shape("A glob of the whole text, in which case counts: * is any text, ? one character, [ab] and [!ab] are sets."),
]
RuleName = Annotated[str, Shape("Up to 40 lower-case letters, digits, - and _.", RULE_NAME)]
