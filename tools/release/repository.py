"""The Serverless Application Repository: whether the template's metadata is what it takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

_LIMITS = {
    "Name": (140, r"[a-zA-Z0-9-]+"),
    "Description": (256, r".+"),
    "Author": (127, r"[a-z0-9](?:[a-z0-9]|-(?!-))*[a-z0-9]"),
    "SemanticVersion": (140, r"\d+\.\d+\.\d+(?:-[\w.]+)?"),
    "SpdxLicenseId": (140, r"[\w.-]+"),
}
"""Characters and form of each property that an application must have (AWS's documentation of the metadata section)."""

_FILES = ("LicenseUrl", "ReadmeUrl")


def metadata(template: Path) -> dict[str, Any]:
    """A template's ``AWS::ServerlessRepo::Application``."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    loaded = yaml.load(template.read_text(), Loader)  # noqa: S506 - a SafeLoader
    section: dict[str, Any] = loaded["Metadata"]["AWS::ServerlessRepo::Application"]
    return section


def problems(template: Path) -> list[str]:
    """What the repository would refuse in a template's metadata.

    Args:
        template: Its path; the files that it names are beside it.
    """
    found = metadata(template)
    wrong = [
        f"{name}: {found.get(name)!r}"
        for name, (length, form) in _LIMITS.items()
        if not re.fullmatch(form, str(found.get(name, ""))) or len(str(found[name])) > length
    ]
    absent = [name for name in _FILES if not (template.parent / str(found.get(name))).is_file()]
    return wrong + [f"{name}: no such file" for name in absent]
