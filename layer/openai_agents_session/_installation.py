"""Whether the package is whole: `openai-agents-session` has the same import name, and pip writes over files."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType

VERSION = "1.0.0"

OURS = "openai-agents-session-layer"
OTHER = "openai-agents-session"

# As pip names the folder with an installed distribution's metadata.
_METADATA_OF_OTHER = "openai_agents_session-*.dist-info"

_AGAIN = f"pip uninstall --yes {OTHER} {OURS}, then install {OURS} again (from its source: pip install ./layer)"


def warn_of_other(package: Path) -> None:
    """Warn if `openai-agents-session` is installed in the same place: to uninstall it would remove files of ours.

    Args:
        package: This package's folder.
    """
    if next(package.parent.glob(_METADATA_OF_OTHER), None):
        message = f"{OTHER} and {OURS} are installed in one place under one import name, {package.name}: uninstalling"
        warnings.warn(f"{message} either breaks the other. Keep one: {_AGAIN}", RuntimeWarning, stacklevel=3)


def require_whole(package: ModuleType | None = None) -> None:
    """Make sure that the package's own modules are ours, for modules that only we have.

    Args:
        package: The package; this one's when left out.

    Raises:
        ImportError: `openai-agents-session` was installed over ours, or was uninstalled and took files of ours along.
    """
    package = package or sys.modules[__package__]
    if getattr(package, "__version__", None) == VERSION and getattr(package, "SessionError", None):
        return
    happened = "was installed over" if getattr(package, "__file__", None) else "was uninstalled and took files of"
    raise ImportError(f"{OTHER} {happened} {OURS}, which has the same import name. {_AGAIN}", name=__package__)


def missing(name: str) -> Exception:
    """What to raise for a name that the package has not.

    Args:
        name: The name that was asked for.
    """
    if name == "RedisSession":  # as the other distribution does where Redis is not installed
        return ImportError(
            f"{OURS} keeps sessions in DynamoDB and has no RedisSession. For Redis there are agents.extensions.memory."
            f"RedisSession of openai-agents and, in an environment without {OURS}, that of {OTHER}.",
            name=__package__,
        )
    return AttributeError(f"module {__package__!r} has no attribute {name!r}", name=name)
