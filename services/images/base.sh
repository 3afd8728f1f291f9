#!/usr/bin/env bash
# Makes localhost/aisle-base: the smallest Debian 12 that Python and the numerics run in, from the mirror that apt uses.
# No certificates of the public (they bring Perl): who may be trusted is named by AISLE_…_CA.
set -euo pipefail
tarball=$(mktemp --suffix .tar)
trap 'rm -f "$tarball"' EXIT
SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=minbase --include=python3,libpython3.11,libgomp1 \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  bookworm "$tarball"
container=$(buildah from scratch)
buildah add --quiet "$container" "$tarball" / > /dev/null
buildah commit --quiet --rm --timestamp 0 "$container" localhost/aisle-base > /dev/null
