"""What the site's builder, MkDocs, asks of this project while it builds (mkdocs.yml, ``hooks``).

The Markdown files stay single sources that read well in the repository too: links that lead out of docs/ there lead to
the page or to the source file here, and pages of the project's own folder become pages of the site.
"""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
PLACEHOLDER = "OWNER"

OF_THE_PROJECT = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CODE_OF_CONDUCT.md": "project/conduct.md",
    "SECURITY.md": "project/reporting.md",
    "README.md": "index.md",
}
"""Files of the project's own folder, and the pages that they are on the site."""

_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_config(config: Any) -> Any:
    """Say where the project lives, once it is known."""
    urls = _urls()
    if not any(PLACEHOLDER in url for url in urls.values()):
        config.site_url, config.repo_url = urls["Documentation"], urls["Source"]
    return config


@event_priority(100)  # type: ignore[untyped-decorator]  # before the check of links lists the pages
def on_files(files: Any, config: Any) -> Any:
    """Make pages of the files in the project's own folder. README is not one: docs/index.md begins the site."""
    for name, page in OF_THE_PROJECT.items():
        if page != "index.md":
            files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links that lead out of docs/ into links of the site, and fill in what only a release knows."""
    written = {page: name for name, page in OF_THE_PROJECT.items()}
    source = written.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    if page.file.src_uri == "index.md":
        source = "docs/index.md"
    markdown = _LINK.sub(lambda link: _target(link[1], source, page.file.src_uri) + (link[2] or ""), markdown)
    markdown = markdown.replace("<!-- openapi -->", openapi_tables(ROOT / "docs" / "openapi.yaml"))
    return markdown.replace("<!-- layers -->", layers_table(ROOT / "docs" / "layers.json"))


def layers_table(path: Path) -> str:
    """The published layers as a table, or the sentence that there are none.

    Args:
        path: The list that a release writes; it need not exist.
    """
    if not path.exists():
        return "!!! note\n    No layer has been published under an ARN yet: publish it in your own account, as below."
    rows = [
        f"| {each['region']} | {each['python']} | {each['architecture']} | {each['variant']} | `{each['arn']}` |"
        for each in json.loads(path.read_text())
    ]
    return "\n".join(("| region | Python | architecture | variant | ARN |", "|---|---|---|---|---|", *rows))


def openapi_tables(path: Path) -> str:
    """The operations of an OpenAPI document, each with what it takes and answers.

    Args:
        path: The document, whose references are its own.
    """
    document = yaml.safe_load(path.read_text())
    paths = document["paths"].items()
    operations = [
        _operation(document, method, route, spec)
        for route, methods in paths
        for method, spec in methods.items()
        if method != "parameters"
    ]
    return "\n\n".join(operations)


def _operation(document: Any, method: str, route: str, spec: Any) -> str:
    lines = [f"### {spec['summary']}", "", f"`{method.upper()} {route}`", "", spec.get("description", "").strip(), ""]
    shared = document["paths"][route].get("parameters", [])
    taken = [_resolved(document, each) for each in (*shared, *spec.get("parameters", []))]
    rows = [(each["name"], each["in"], each["description"]) for each in taken]
    if body := spec.get("requestBody"):
        schema = _resolved(document, body["content"]["application/json"]["schema"])
        rows += [(name, "body", _about(of)) for name, of in schema["properties"].items()]
    lines += ["| parameter | in | |", "|---|---|---|", *(f"| `{a}` | {b} | {c} |" for a, b, c in rows), ""]
    lines += ["| status | | body |", "|---|---|---|"]
    lines += [_answer(document, status, each) for status, each in spec["responses"].items()]
    return "\n".join(lines)


def _answer(document: Any, status: str, response: Any) -> str:
    response = _resolved(document, response)
    schema = response["content"]["application/json"]["schema"]
    fields = [f"`{name}`" for each in schema.get("anyOf", [schema]) for name in _resolved(document, each)["properties"]]
    return f"| {status} | {response['description']} | {', '.join(dict.fromkeys(fields))} |"


def _about(schema: Any) -> str:
    values = [f"`{value}`" for value in schema.get("enum", [])]
    return schema.get("description") or ", ".join(values)


def _resolved(document: Any, part: Any) -> Any:
    """A part of the document, or what it refers to."""
    found = document
    for name in part["$ref"].removeprefix("#/").split("/") if "$ref" in part else ():
        found = found[name]
    return found if "$ref" in part else part


def _target(link: str, source: str, page: str) -> str:
    """Where a link of a file in the repository leads on the site."""
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if wanted in OF_THE_PROJECT:
        return posixpath.relpath(OF_THE_PROJECT[wanted], posixpath.dirname(page) or ".")
    if wanted.startswith("docs/"):
        return posixpath.relpath(wanted.removeprefix("docs/"), posixpath.dirname(page) or ".")
    if not (ROOT / wanted).exists():
        return link  # which the builder then reports
    kind = "tree" if (ROOT / wanted).is_dir() else "blob"
    return f"{_urls()['Source']}/{kind}/main/{wanted}"


def _urls() -> Mapping[str, str]:
    urls: Mapping[str, str] = tomllib.loads((ROOT / "layer" / "pyproject.toml").read_text())["project"]["urls"]
    return urls
