"""Run the benchmark and write docs/bench-layer.md.

python -m tools.bench_layer [--rounds 10]
"""

from __future__ import annotations

import argparse
import sys

from tools import interpreters
from tools.bench_layer import contenders, measure, picture, report
from tools.emulation import rie
from tools.layers import build
from tools.layers.assemble import ARCHITECTURES, ROOT, VARIANTS, Target

WARM_ROUNDS = 3


def main() -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description="What the layer costs at a start, and in a warm turn.")
    parser.add_argument("--rounds", type=int, default=10, help="fresh processes each (default: %(default)s)")
    rounds = parser.parse_args().rounds
    target = Target(arch=rie.architecture(), python=rie.python_version())
    say("building what is compared (a minute or two)")
    compared = contenders.prepare(target)
    sizes = {}
    for variant in VARIANTS:
        for arch in ARCHITECTURES:
            other = Target(variant, arch, target.python)
            zipped = build.archive(other)
            sizes[f"ours, {variant}, {arch}"] = build.size_of(zipped.parent / "python"), zipped.stat().st_size
    for contender in compared:
        if contender.name != "ours":
            sizes[contender.name] = contenders.unzipped_and_zipped(contender.layer)
    python = interpreters.find(target.python)
    assert python is not None, "the floor was compiled by it"
    with measure.table() as variables:
        cold = measure.cold(compared, rounds, python, variables, say)
        ours = next(contender for contender in compared if contender.name == "ours")
        shown = {contenders.PUBLISHED: "the packages as published, compiled", "ours": "the layer"}
        profiled = [contender for contender in compared if contender.name in shown]
        profiles = measure.profiles(profiled, python, variables, say)
        warm = measure.warm(ours.layer, contenders.FOLDER / "handlers", WARM_ROUNDS, variables, say)
    rows = {shown[name]: profile for name, profile in profiles.items()}
    (ROOT / "docs" / "bench-layer.svg").write_text(picture.draw(rows))
    page = report.page(target, rounds, cold, warm, sizes)
    (ROOT / "docs" / "bench-layer.md").write_text(page)
    print(page)
    return 0


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"==> {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
