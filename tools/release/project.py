"""What a release says of the project in several places, read from the one that decides: layer/pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

from tools.layers.assemble import ROOT, SOURCE

PLACEHOLDER = "OWNER"
"""Stands for whoever owns the repository, until [project.urls] says it."""


@dataclass(frozen=True)
class Project:
    """What layer/pyproject.toml says.

    Attributes:
        name: Of the distribution.
        version: Such as "1.2.0".
        description: One sentence.
        urls: By label, such as "Source".
        dependencies: As pip takes them, those of extras included.
    """

    name: str
    version: str
    description: str
    urls: dict[str, str]
    dependencies: tuple[str, ...]


def read() -> Project:
    """The project as it is now."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    dependencies = (*project["dependencies"], *extras)
    return Project(project["name"], project["version"], project["description"], project["urls"], dependencies)


def problems(tag: str | None = None) -> list[str]:
    """Where the project's files disagree about the version, or it does not know where it lives.

    Args:
        tag: The tag that is to be released, such as "v1.2.0"; None before there is one.
    """
    project = read()
    found = []
    if not re.search(rf"^## {re.escape(project.version)}$", changelog(), re.MULTILINE):
        found.append(f"CHANGELOG.md has no section {project.version}")
    if f'SemanticVersion: "{project.version}"' not in (ROOT / "template.yaml").read_text():
        found.append(f"template.yaml's SemanticVersion is not {project.version}")
    if tag and tag != f"v{project.version}":
        found.append(f"the tag is {tag}, the version in layer/pyproject.toml is {project.version}")
    if tag and is_placeholder(project.urls):
        found.append(f"[project.urls] of layer/pyproject.toml says {PLACEHOLDER}: say where the project lives")
    return found


def is_placeholder(urls: dict[str, str]) -> bool:
    """Whether nobody has said yet where the project lives."""
    return any(PLACEHOLDER in url for url in urls.values())


def notes(version: str) -> str:
    """A version's section of the changelog, without its heading.

    Raises:
        LookupError: There is none.
    """
    section = re.search(rf"^## {re.escape(version)}\n(.*?)(?=^## |\Z)", changelog(), re.MULTILINE | re.DOTALL)
    if not section:
        raise LookupError(f"CHANGELOG.md has no section {version}")
    return section[1].strip()


def changelog() -> str:
    """The changelog's text."""
    return (ROOT / "CHANGELOG.md").read_text()


if __name__ == "__main__":
    print(notes(read().version))
