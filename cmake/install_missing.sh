#!/bin/sh
# Installs the Debian or Ubuntu packages among its arguments that are missing; says so, and is quick when none is.
#
#   cmake/install_missing.sh cmake ninja-build libfmt-dev
#
# A tool counts as present when its command is there, wherever it came from. On other systems it only says what is
# needed: the build then tells whether it is there.
set -eu

is_present() {
  case $1 in
    cmake | ccache) command -v "$1" > /dev/null && return ;;
    ninja-build) command -v ninja > /dev/null && return ;;
    g++) command -v g++ > /dev/null && return ;;
    clang) command -v clang++ > /dev/null && return ;;
  esac
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

if ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
  echo "This is neither Debian nor Ubuntu; what these packages hold is needed, from wherever: $*"
  exit 0
fi

missing=
for package in "$@"; do
  is_present "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo "All packages are there."
  exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo > /dev/null; then
    echo "Missing, and neither root nor sudo to install them; as root, please: apt-get install$missing" >&2
    exit 1
  fi
  as_root=sudo
fi
echo "Installing:$missing"
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0"
$apt update < /dev/null
# shellcheck disable=SC2086  # words are meant to split
$apt install -y --no-install-recommends $missing < /dev/null > /dev/null
