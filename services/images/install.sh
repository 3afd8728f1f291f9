#!/bin/sh
# install-wheels FOLDER REQUIREMENTS: a virtual environment of exactly these wheels, and its bill of materials in
# FOLDER/share/sbom.json (CycloneDX; what Debian installed stands in /var/lib/dpkg/status).
# Without the libraries' own tests, a tenth of their size, without headers for C, and without Feast's web pages.
set -eu
tools=/opt/tools/bin
pip=$(ls /wheels/pip-*.whl)
python3 -m venv --without-pip "$1"
python3 "$pip/pip" --python "$1/bin/python" install --quiet --no-cache-dir --no-compile --no-deps --no-index \
  --find-links /wheels -r "$2"
find "$1/lib" -type d \( -name tests -o -name include -o -path '*/feast/ui' \) -prune -exec rm -r {} +
python3 -m compileall -q --invalidation-mode unchecked-hash "$1/lib" || true # some libraries ship templates of modules
mkdir -p "$1/share"
"$tools/cyclonedx-py" environment --output-reproducible --output-format JSON --output-file "$1/share/sbom.json" \
  "$1/bin/python"
