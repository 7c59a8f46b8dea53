# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
#
# Debian packages: sourced by scripts/demo and scripts/check.

BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config python3
    libglib2.0-dev libjansson-dev liburing-dev libgnutls28-dev zlib1g-dev
    libzstd-dev libisal-dev libdeflate-dev libnbd-dev
    libpixman-1-dev libpng-dev"
TEST_PACKAGES="clang libclang-rt-14-dev qemu-utils qemu-system-common
    qemu-system-x86 libnbd-bin gnutls-bin python3-libnbd nbdkit fio valgrind zstd tar
    procps util-linux e2fsprogs git strace"

# Installs those of the named packages that are missing.
need_packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null |
            grep -q 'install ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "Installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        > /dev/null
}
