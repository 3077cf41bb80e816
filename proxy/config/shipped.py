"""The policies that come with Standby, by name: `standby:overnight-jobs` stands for its file, wherever that is."""

from pathlib import Path

from proxy.domain.errors import ConfigFault

PACKAGE = Path(__file__).parent.parent
PREFIX = "standby:"
SCHEMA_FILE = "schema.json"


def policy_folder(package: Path = PACKAGE) -> Path:
    """Where they are: in an installed package, else in the checkout."""
    packaged = package / "_policies"
    return packaged if packaged.is_dir() else package.parent / "policies"


def default_policy(package: Path = PACKAGE) -> Path:
    """The one that is in force where no other is configured."""
    return policy_folder(package) / "default.yaml"


def shipped_names(package: Path = PACKAGE) -> list[str]:
    """What they are called."""
    return sorted(file.stem for file in policy_folder(package).glob("*.yaml"))


def policy_path(folder: Path, said: Path) -> Path:
    """The file that a policy's name means, where `folder` is the one that relative names start at.

    Raises `ConfigFault` for a policy that does not come with Standby although it says so.
    """
    if not str(said).startswith(PREFIX):
        return folder / said
    name = str(said).removeprefix(PREFIX)
    if name not in shipped_names():
        raise ConfigFault(f"{str(said)!r} does not come with Standby: there are {', '.join(shipped_names())}")
    return policy_folder() / f"{name}.yaml"
