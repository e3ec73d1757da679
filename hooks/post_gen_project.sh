#!/bin/sh
# `sam init --location` and cookiecutter run this in the new project. It takes what a project needs from this repository,
# which so keeps one copy of it: all but the tests, the benchmarks and the documentation of the library itself.
set -eu
from='{{ cookiecutter._repo_dir }}'
locks="requirements/bootstrap.txt requirements/dev.txt requirements/emulator.txt requirements/engines.json requirements/npm.json"

# Without what Python and the builders leave behind. The names are expanded there, not here.
(cd "$from" && tar -cf - --exclude=__pycache__ --exclude='*.egg-info' \
    LICENSE template.yaml functions events layer tools/*.py tools/layers tools/emulation $locks) | tar -xf -
