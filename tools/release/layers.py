"""Layer versions in an account: published, opened to others, and found again by their parameter in SSM.

    python -m tools.release.layers publish --region eu-central-1 --arch arm64 --python 3.13 --variant lean --out layers/
    python -m tools.release.layers page layers/ > docs/layers.json

A version that is there with the same content is not published again, so a release that broke off can be repeated.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.layers import build
from tools.layers.assemble import ARCHITECTURES, PYTHONS, VARIANTS, Target
from tools.release import project

STATEMENT = "public"


@dataclass(frozen=True, order=True)
class Published:
    """A layer version that others can attach.

    Attributes:
        region: Where it is.
        variant: "full" or "lean".
        python: Its runtime, such as "3.13".
        architecture: "x86_64" or "arm64".
        arn: With the version at its end.
        release: The project's version that it is.
    """

    region: str
    variant: str
    python: str
    architecture: str
    arn: str
    release: str


def name_of(target: Target) -> str:
    """A layer's name, which says what it is for."""
    variant = "" if target.variant == "full" else f"-{target.variant}"
    return f"openai-agents-session{variant}-python{target.python.replace('.', '')}-{target.arch}"


def parameter_of(target: Target) -> str:
    """The SSM parameter that holds the newest version's ARN."""
    return f"/openai-agents-session-layer/{target.variant}/python{target.python}/{target.arch}"


def publish(target: Target, functions: Any, parameters: Any) -> Published:
    """Publish a layer for everybody, and write down where it is.

    Args:
        target: What to build and publish.
        functions: A boto3 client of Lambda, in the region that gets it.
        parameters: A boto3 client of SSM, in the same.

    Returns:
        The version that is there then.
    """
    release = project.read().version
    content = build.archive(target).read_bytes()
    version = _same(functions, name_of(target), content) or functions.publish_layer_version(
        LayerName=name_of(target),
        Description=f"openai-agents-session-layer {release}, {target.variant}",
        Content={"ZipFile": content},
        CompatibleRuntimes=[f"python{target.python}"],
        CompatibleArchitectures=[target.arch],
        LicenseInfo="MIT",
    )
    _open_to_all(functions, name_of(target), version["Version"])
    arn = version["LayerVersionArn"]
    parameters.put_parameter(Name=parameter_of(target), Value=arn, Type="String", Overwrite=True)
    return Published(functions.meta.region_name, target.variant, target.python, target.arch, arn, release)


def collect(files: Iterable[Path]) -> str:
    """The records of many publications as the one that the documentation shows."""
    records = sorted(Published(**json.loads(path.read_text())) for path in files)
    return json.dumps([asdict(record) for record in records], indent=2) + "\n"


def _same(functions: Any, name: str, content: bytes) -> dict[str, Any] | None:
    """The newest version, if it has this content."""
    newest = functions.list_layer_versions(LayerName=name, MaxItems=1)["LayerVersions"]
    if not newest:
        return None
    version: dict[str, Any] = functions.get_layer_version(LayerName=name, VersionNumber=newest[0]["Version"])
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return version if version["Content"]["CodeSha256"] == digest else None


def _open_to_all(functions: Any, name: str, version: int) -> None:
    opened_before = functions.exceptions.ResourceConflictException  # by an earlier try of this release
    with contextlib.suppress(opened_before):
        functions.add_layer_version_permission(
            LayerName=name,
            VersionNumber=version,
            StatementId=STATEMENT,
            Action="lambda:GetLayerVersion",
            Principal="*",
        )


def main() -> int:
    """Publish one layer, or collect what was published."""
    arguments = _arguments()
    if arguments.command == "page":
        sys.stdout.write(collect(sorted(arguments.folder.glob("*.json"))))
        return 0
    import boto3

    target = Target(arguments.variant, arguments.arch, arguments.python)
    clients = [boto3.client(service, region_name=arguments.region) for service in ("lambda", "ssm")]
    published = publish(target, *clients)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{published.region}-{target.name}.json").write_text(json.dumps(asdict(published)))
    print(published.arn)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Publish layers, and say where they are.")
    commands = parser.add_subparsers(dest="command", required=True)
    publishing = commands.add_parser("publish", help="one layer, in one region")
    publishing.add_argument("--region", required=True)
    publishing.add_argument("--variant", choices=VARIANTS, default="full")
    publishing.add_argument("--arch", choices=ARCHITECTURES, default="x86_64")
    publishing.add_argument("--python", choices=PYTHONS, default="3.13")
    publishing.add_argument("--out", type=Path, required=True, help="the folder that gets its record")
    page = commands.add_parser("page", help="the records of a folder as docs/layers.json")
    page.add_argument("folder", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
