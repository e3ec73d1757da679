#!/usr/bin/env bash
# Turn requirements/*.in and layer/*.in into lock files that hold on every supported Python, with hashes and without
# registry addresses.
# Arguments go to the resolver, such as --upgrade or --upgrade-package NAME.
set -euo pipefail
cd "$(dirname "$0")/.."
for source in requirements/*.in layer/*.in; do
    echo "==> $source"
    # A source may ask for options of its own in a line that begins with "# uv:".
    read -ra options < <(sed -n 's/^# uv: //p' "$source") || true
    .work/bootstrap/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command "make lock" "${options[@]}" "$@" "$source" --output-file "${source%.in}.txt"
done
