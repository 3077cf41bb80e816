"""What an edit has changed in the policy, as it is announced."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What is new in a policy: rules by their names, and which terms of the default. `reordered`: rules that were there
    before are tried in another order.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    reordered: bool = False
    default: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The same in words."""
        lists = {"added": self.added, "removed": self.removed, "changed": self.changed, "default": self.default}
        words = [f"{name} {', '.join(names)}" for name, names in lists.items() if names]
        return "; ".join([*words, *(["another order"] if self.reordered else [])]) or "nothing"
