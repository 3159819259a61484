#!/usr/bin/env bash
# Prepares a throw-away Debian machine for tests/containers: podman, and a base image.
#
# It changes the machine (packages, /etc/containers), so it is for continuous integration. On a
# machine of your own, install podman; the rest is pulled from Docker Hub.
set -euo pipefail

HERE=$(dirname "${BASH_SOURCE[0]}")
BASE=docker.io/library/python:3.11-slim

as_root=()
((EUID == 0)) || as_root=(sudo)

at_most() { [[ $2 == unlimited || $2 -gt $1 ]] && echo "$1" || echo "$2"; }

# Containers get limits no higher than this machine's own, and trust the authorities that this
# machine was told to trust (a proxy's, for one), so that Dockerfiles need not know of them.
configure() {
    local file=/etc/containers/containers.conf
    [[ -e $file ]] && return
    local files processes
    files=$(at_most 20000 "$(ulimit -Hn)") processes=$(at_most 20000 "$(ulimit -Hu)")
    {
        echo '[containers]'
        echo "default_ulimits = [\"nofile=$files:$files\", \"nproc=$processes:$processes\"]"
        if [[ -n ${SSL_CERT_FILE:-} ]]; then
            local folder
            folder=$(dirname "$SSL_CERT_FILE")
            echo "volumes = [\"$folder:$folder:ro\"]"
            echo "env = [\"SSL_CERT_FILE=$SSL_CERT_FILE\", \"PIP_CERT=$SSL_CERT_FILE\"]"
        fi
        echo '[engine]'
        echo 'runtime = "runc"'
    } | "${as_root[@]}" tee "$file" >/dev/null
}

# What `FROM python:3.11-slim` gets where Docker Hub cannot be reached: the same Python of the same
# Debian release, from Debian's own packages.
base_image() {
    podman image exists "$BASE" && return
    podman pull --quiet "$BASE" >/dev/null 2>&1 && return
    echo "Docker Hub does not answer; making $BASE from Debian's packages." >&2
    "$HERE/install-missing.sh" mmdebstrap
    local folder
    folder=$(mktemp -d)
    # As in Docker's slim images: neither manuals nor package lists.
    mmdebstrap --quiet --variant=minbase \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*' \
        --include=python3,python-is-python3,python3-pip,python3-venv,ca-certificates \
        bookworm "$folder/base.tar"
    podman import --quiet --change 'CMD ["python"]' \
        --change 'ENV PIP_BREAK_SYSTEM_PACKAGES=1' "$folder/base.tar" "$BASE" >/dev/null
    rm -r "$folder"
}

"$HERE/install-missing.sh" podman podman-docker runc netavark aardvark-dns iptables prometheus
configure
base_image
