#!/usr/bin/env bash
# Builds aisle-ROLE for each ROLE named, by default for all, with buildah: `make images [ROLES=…] [BASE_IMAGE=…]`.
# BASE_IMAGE is NAME@sha256:DIGEST; by default a base that is made here, once.
set -euo pipefail
cd "$(dirname "$0")/../.."
all=$(sed -n 's/^FROM installed AS //p' services/Containerfile)
if [ -z "${BASE_IMAGE:-}" ]; then
  buildah inspect --type image localhost/aisle-base > /dev/null 2>&1 || services/images/base.sh
  BASE_IMAGE=localhost/aisle-base@$(buildah inspect --type image --format '{{.FromImageDigest}}' localhost/aisle-base)
fi
case $BASE_IMAGE in *@sha256:*) ;; *) echo "BASE_IMAGE=$BASE_IMAGE: name it by digest, NAME@sha256:…" >&2; exit 2 ;; esac
for role in ${*:-$all}; do
  buildah bud --quiet --isolation chroot --layers --build-arg BASE_IMAGE="$BASE_IMAGE" --build-arg ROLE="$role" \
    --target "$role" --label org.opencontainers.image.title="aisle-$role" --label org.opencontainers.image.base.name="$BASE_IMAGE" \
    --tag "localhost/aisle-$role" --file services/Containerfile . > /dev/null
  echo "localhost/aisle-$role"
done
