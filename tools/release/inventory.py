"""What is in a built layer: its packages with versions and licences, as a CycloneDX document and as a text.

Runs in the release's environment, which has CycloneDX's library:

    .work/envs/release/bin/python -m tools.release.inventory .work/layer/x86_64-3.13/python OUT
"""

from __future__ import annotations

import importlib.metadata
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

ALLOWED = {
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"),
    *("Apache Software License", "BSD License", "MIT License", "Python Software Foundation License"),
    # copyleft of its own files alone, which the layer leaves as they are
    *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"),
}
"""Licences, in the words of packages' authors, under which a package may be handed on in a layer."""


@dataclass(frozen=True)
class Package:
    """One package of a layer.

    Attributes:
        name: As it calls itself.
        version: Its version.
        licence: What its metadata says; empty if it says nothing.
        texts: The texts of its licence and notices, by file name.
    """

    name: str
    version: str
    licence: str
    texts: dict[str, str]


def packages(layer: Path) -> list[Package]:
    """The packages of a layer's ``python`` folder, by name."""
    found = map(_package, importlib.metadata.distributions(path=[str(layer)]))
    return sorted(found, key=lambda package: package.name.lower())


def refused(of: list[Package]) -> list[str]:
    """What stands against handing the packages on: a licence that is not allowed, or without its text."""
    unknown = [f"{each.name}: licence {each.licence!r}" for each in of if not _is_allowed(each.licence)]
    return unknown + [f"{each.name}: no text of its licence" for each in of if not each.texts]


def document(of: list[Package], name: str, version: str) -> str:
    """A CycloneDX document, checked against its schema. The same layer gives the same text.

    Args:
        of: The packages.
        name: What they are in, such as "openai-agents-session-layer x86_64-3.13".
        version: Of the same.

    Raises:
        ValueError: It is not as the schema wants it.
    """
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from packageurl import PackageURL

    licences = LicenseFactory()
    seed = "\n".join(f"{each.name}=={each.version}" for each in of)
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{name}\n{version}\n{seed}"))
    bom.metadata.timestamp = None  # two builds of one layer give one document
    bom.metadata.component = Component(type=ComponentType.APPLICATION, name=name, version=version, bom_ref=name)
    for each in of:
        url = PackageURL("pypi", None, each.name.lower().replace("_", "-"), each.version)
        component = Component(type=ComponentType.LIBRARY, name=each.name, version=each.version, purl=url)
        component.bom_ref.value = str(url)
        if each.licence:
            component.licenses.add(licences.make_from_string(each.licence))
        bom.components.add(component)
    bom.register_dependency(bom.metadata.component, bom.components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"not CycloneDX: {wrong}")
    return text + "\n"


def notices(of: list[Package]) -> str:
    """The licences' texts, one package after another."""
    return "\n".join(_notice(each) for each in of)


def _notice(package: Package) -> str:
    heading = f"{package.name} {package.version}: {package.licence or 'no licence stated'}"
    return "\n".join((heading, "=" * len(heading), "", *(f"{text.strip()}\n" for text in package.texts.values())))


def _package(distribution: Distribution) -> Package:
    metadata = distribution.metadata
    name = metadata["Name"]
    (expression,) = metadata.get_all("License-Expression") or [""]
    (text,) = metadata.get_all("License") or [""]
    stated = expression or _classified(metadata.get_all("Classifier") or []) or _first_line(text)
    folder = Path(str(distribution.locate_file("."))) / distribution._path.name  # type: ignore[attr-defined]
    return Package(name, distribution.version, stated, dict(_texts(folder)))


def _classified(classifiers: list[str]) -> str:
    licences = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")]
    return " OR ".join(licence for licence in licences if licence != "OSI Approved")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    words = ("LICEN", "COPYING", "NOTICE", "AUTHORS")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.upper().startswith(words):
            yield path.relative_to(folder).as_posix(), path.read_text(errors="replace")


def _is_allowed(licence: str) -> bool:
    """Whether each of the licences that all apply is allowed, or one of those that may be chosen from."""
    return all(any(choice in ALLOWED for choice in part.split(" OR ")) for part in licence.split(" AND "))


def main(layer: Path, out: Path) -> int:
    """Write a layer's document and notices; the exit code says whether every licence is allowed."""
    found = packages(layer)
    own = next(each for each in found if each.name == "openai-agents-session-layer")
    name = f"{own.name} {layer.parent.name}"
    out.mkdir(parents=True, exist_ok=True)
    (out / "sbom.cdx.json").write_text(document(found, name, own.version))
    (out / "licences.txt").write_text(notices(found))
    for line in (wrong := refused(found)):
        print(line, file=sys.stderr)
    print(f"{len(found)} packages")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
