"""What is published: the distributions, the layers with their inventories, the application, and how they get there."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.emulation import ministack, sam
from tools.emulation.ministack import LocalAws
from tools.emulation.rie import architecture, python_version
from tools.layers import build
from tools.layers.assemble import ROOT, Target
from tools.release import __main__ as release
from tools.release import distribution, layers, project, repository, workflows
from tools.release.distribution import ReleaseError

PIN = "3d3c42e5aac5ba805825da76410c181273ba90b1"
TARGET = Target("lean", architecture(), python_version())


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[LocalAws]:
    """An empty local AWS."""
    with ministack.running(tmp_path) as running:
        yield running


@pytest.fixture
def clients(aws: LocalAws) -> tuple[Any, Any]:
    """Its Lambda and its SSM."""
    return aws.client("lambda"), aws.client("ssm")


def test_both_distributions_are_whole_and_the_same_at_every_build(tmp_path: Path) -> None:
    """An index takes both distributions, each has every file of the package, and two builds are equal to the byte."""
    built = distribution.check(tmp_path)
    assert sorted(path.suffix for path in built) == [".gz", ".whl"]
    for path in built:
        names = distribution.contents(path)
        assert {"openai_agents_session/py.typed", "openai_agents_session/cli/__main__.py"} <= names
        assert any(name.endswith("LICENSE") for name in names)


def test_a_distribution_that_lacks_a_file_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that the build leaves out stops the release, and is named."""
    sources = distribution.sources()
    monkeypatch.setattr(distribution, "sources", lambda: sources | {"openai_agents_session/absent.py"})
    with pytest.raises(ReleaseError, match=r"lacks openai_agents_session/absent\.py"):
        distribution.check(tmp_path)


def test_the_licence_that_ships_is_the_projects() -> None:
    """The package's licence, which has to lie beside its pyproject.toml, is the project's."""
    assert (ROOT / "layer" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_files_agree_about_the_version() -> None:
    """Package, changelog and template state one version, and its changes can be told."""
    assert project.problems() == []
    assert project.notes(project.read().version)


@pytest.mark.parametrize(
    ("tag", "problem"), [("v0.0.1", "the tag is v0.0.1"), ("v1.0.0", "say where the project lives")]
)
def test_a_release_that_would_mislead_is_refused(tag: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is released under another version's tag, or with a placeholder for the project's address."""
    found = project.read()
    with monkeypatch.context() as patched:
        urls = {"Source": f"https://github.com/{project.PLACEHOLDER}/x"}
        patched.setattr(project, "read", lambda: project.Project(found.name, "1.0.0", "", urls, ()))
        assert any(problem in each for each in project.problems(tag))


def test_every_workflow_is_sound() -> None:
    """actionlint, shellcheck and zizmor find nothing, and every action is pinned to a commit."""
    assert workflows.check() >= 2


@pytest.mark.parametrize(
    ("line", "loose"),
    [
        (f"      - uses: actions/checkout@{PIN} # v7.0.1", False),
        (f"      - uses: actions/checkout@{PIN}", True),
        ("      - uses: actions/checkout@v7 # v7.0.1", True),
        ("        uses: ./.github/actions/own", True),
    ],
)
def test_an_action_that_others_could_change_is_found(line: str, loose: bool) -> None:
    """A tag, a branch, or a hash whose version nobody wrote down is told apart from a pin."""
    assert bool(workflows.unpinned(f"jobs:\n{line}\n")) is loose


@pytest.mark.parametrize(
    ("job", "complaint"),
    [
        ("runs-on: ubuntu-24.04\n    steps:\n      - run: echo ${{ github.evnt }}\n", "evnt"),
        ("runs-on: ubuntu-24.04\n    steps:\n      - run: echo ${{ github.event.issue.title }}\n", "title"),
        ("runs-on: ubuntu-24.04\n    steps:\n      - run: rm $UNQUOTED\n        shell: bash\n", "SC2086"),
    ],
    ids=["no such property", "anybody's text in a script", "a shell script's fault"],
)
def test_a_faulty_workflow_is_found(job: str, complaint: str, tmp_path: Path) -> None:
    """The linters that a release relies on are really asked: each of them notices a fault of its kind."""
    text = f"name: x\non: issues\npermissions: {{}}\njobs:\n  a:\n    {job}"
    (tmp_path / "faulty.yml").write_text(text)
    with pytest.raises(ReleaseError, match=complaint):
        workflows.check(tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_a_form_for_issues_is_one_that_github_shows(path: Path) -> None:
    """A form has a name and a description; each question has a kind that there is, an id of its own and a label."""
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form == {"blank_issues_enabled": False}
        return
    assert form["name"]
    assert form["description"]
    questions = [each for each in form["body"] if each["type"] != "markdown"]
    assert {each["type"] for each in questions} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert len({each["id"] for each in questions}) == len(questions) > 1
    assert all(each["attributes"]["label"] for each in questions)


def test_a_layers_inventory_names_every_package_with_its_licence(tmp_path: Path) -> None:
    """The CycloneDX document has exactly what is in the layer, with licences; the licences' texts are beside it."""
    tree = build.build(TARGET) / "python"
    release.inventory(TARGET, tmp_path)
    bom = json.loads((tmp_path / TARGET.name / "sbom.cdx.json").read_text())
    listed = {component["purl"] for component in bom["components"]}
    installed = {folder.name.removesuffix(".dist-info") for folder in tree.glob("*.dist-info")}
    assert len(listed) == len(installed) > 10
    assert f"pkg:pypi/openai-agents-session-layer@{project.read().version}" in listed
    assert all(component["licenses"] for component in bom["components"])
    assert "Apache License" in (tmp_path / TARGET.name / "licences.txt").read_text()
    first = (tmp_path / TARGET.name / "sbom.cdx.json").read_bytes()
    release.inventory(TARGET, tmp_path)
    assert (tmp_path / TARGET.name / "sbom.cdx.json").read_bytes() == first


INVENTORY = """
import sys
from tools.release import inventory
texts = {"LICENSE": "..."} if sys.argv[2] == "text" else {}
print(*inventory.refused([inventory.Package("x", "1", sys.argv[1], texts)]))
"""


@pytest.mark.parametrize(
    ("licence", "text", "refused"),
    [
        ("MIT", "text", False),
        ("Apache-2.0 AND MIT", "text", False),
        ("BSD License OR GPL-3.0-only", "text", False),
        ("Apache-2.0 AND GPL-3.0-only", "text", True),
        ("GNU General Public License v3 (GPLv3)", "text", True),
        ("", "text", True),
        ("MIT", "no text", True),
    ],
)
def test_a_package_that_may_not_be_handed_on_stops_a_release(licence: str, text: str, refused: bool) -> None:
    """A licence that is unknown, missing, not allowed or without its text is found."""
    command = [release.PYTHON, "-c", INVENTORY, licence, text]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert bool(said) is refused


def test_a_layer_is_published_once_for_everybody_and_found_by_its_parameter(clients: tuple[Any, Any]) -> None:
    """A repeated release publishes nothing twice; the version is open to all, holds the built zip, and SSM names it."""
    functions, parameters = clients
    published = layers.publish(TARGET, functions, parameters)
    assert layers.publish(TARGET, functions, parameters) == published
    name = layers.name_of(TARGET)
    (version,) = functions.list_layer_versions(LayerName=name)["LayerVersions"]
    assert version["LayerVersionArn"] == published.arn
    policy = json.loads(functions.get_layer_version_policy(LayerName=name, VersionNumber=1)["Policy"])
    assert [(each["Principal"], each["Action"]) for each in policy["Statement"]] == [("*", "lambda:GetLayerVersion")]
    assert parameters.get_parameter(Name=layers.parameter_of(TARGET))["Parameter"]["Value"] == published.arn
    location = functions.get_layer_version(LayerName=name, VersionNumber=1)["Content"]["Location"]
    with urllib.request.urlopen(location) as answer:  # noqa: S310 - the local AWS's
        assert answer.read() == build.archive(TARGET).read_bytes()


def test_a_layer_that_changed_is_a_version_of_its_own(
    clients: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another content is another version, and the parameter moves on to it."""
    functions, parameters = clients
    older = layers.publish(TARGET, functions, parameters)
    other = tmp_path / "other.zip"
    other.write_bytes(build.archive(TARGET).read_bytes() + b"\0")
    monkeypatch.setattr(build, "archive", lambda target: other)
    newer = layers.publish(TARGET, functions, parameters)
    assert newer.arn != older.arn
    assert parameters.get_parameter(Name=layers.parameter_of(TARGET))["Parameter"]["Value"] == newer.arn


def test_what_was_published_is_collected_for_the_documentation(tmp_path: Path) -> None:
    """The records of single jobs become one list, in an order that does not depend on which job ended first."""
    record = {"variant": "full", "python": "3.13", "architecture": "arm64", "arn": "arn:1", "release": "1.0.0"}
    for region in ("us-east-1", "eu-central-1"):
        (tmp_path / f"{region}.json").write_text(json.dumps({"region": region, **record}))
    collected = json.loads(layers.collect(sorted(tmp_path.glob("*.json"), reverse=True)))
    assert [each["region"] for each in collected] == ["eu-central-1", "us-east-1"]


def test_the_application_has_what_the_repository_asks_for() -> None:
    """The template's metadata is within the repository's limits, and its version is the project's."""
    assert repository.problems(sam.TEMPLATE) == []
    assert repository.metadata(sam.TEMPLATE)["SemanticVersion"] == project.read().version


def test_metadata_that_the_repository_refuses_is_found(tmp_path: Path) -> None:
    """A missing property, a wrong form, too long a text and a file that is not there are named."""
    section = repository.metadata(sam.TEMPLATE) | {"Author": "Not A Slug", "Description": "x" * 257}
    del section["Name"]
    template = tmp_path / "template.yaml"
    template.write_text(yaml.safe_dump({"Metadata": {"AWS::ServerlessRepo::Application": section}}))
    found = " ".join(repository.problems(template))
    assert all(name in found for name in ("Author", "Description", "Name", "LicenseUrl", "ReadmeUrl"))


@pytest.mark.timeout(300)
def test_the_application_can_be_packaged(aws: LocalAws, tmp_path: Path) -> None:
    """`sam package` uploads code, layers, licence and README, and names them in the template that is then published."""
    built = sam.build(tmp_path, Architecture=architecture(), PythonVersion=python_version())
    aws.client("s3").create_bucket(Bucket="releases")
    out = tmp_path / "packaged.yaml"
    template = ("--template-file", str(built / "template.yaml"), "--output-template-file", str(out))
    sam.sam("package", *template, "--s3-bucket", "releases", endpoint_url=aws.endpoint_url)
    section = repository.metadata(out)
    uploaded = {each["Key"] for each in aws.client("s3").list_objects_v2(Bucket="releases")["Contents"]}
    for name in ("LicenseUrl", "ReadmeUrl"):
        assert section[name].removeprefix("s3://releases/") in uploaded
    assert len(uploaded) >= 5
