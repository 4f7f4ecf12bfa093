# shellcheck shell=bash disable=SC2034
# Sourced by install and uninstall: whom it is for, and where things lie.
#
# DESTDIR, as everywhere, is put before every path that is written; then no service manager is told
# anything, because the files are not in their place yet.

set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${DESTDIR:-}
scope=
prefix=
build=

say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Source trees have a CMakeLists.txt above; an installed tree is the prefix itself.
in_source_tree() { [ -f "$here/../CMakeLists.txt" ]; }

parse() { # parse ARGUMENT…
  while [ $# -gt 0 ]; do
    case $1 in
      --user | --system) scope=${1#--} ;;
      --prefix | --build)
        [ $# -gt 1 ] || fail "$1 needs a folder"
        declare -g "${1#--}=$(realpath -m "$2")"
        shift
        ;;
      -h | --help) usage && exit 0 ;;
      *) usage >&2 && fail "unknown argument: $1" ;;
    esac
    shift
  done
  [ -n "$scope" ] || scope=$([ "$(id -u)" = 0 ] && echo system || echo user)
  find_places
}

find_places() {
  if ! in_source_tree; then
    [ -z "$build" ] || fail "--build is for a source tree; this one is installed"
    prefix=${prefix:-$(realpath -m "$here/../../..")}
  fi
  build=${build:-$(realpath -m "$here/../build/release")}
  if [ "$scope" = user ]; then
    prefix=${prefix:-$HOME/.local}
    units=$root${XDG_DATA_HOME:-$HOME/.local/share}/systemd/user
    started=(hearthd.socket hearthd.service)
  else
    [ "$(id -u)" = 0 ] || [ -n "$root" ] || fail "--system needs root; --user does not"
    prefix=${prefix:-/usr/local}
    units=$root/etc/systemd/system
    started=(hearthd.socket hearthd.service hearth-sleep.service)
  fi
  case $prefix in
    *[!A-Za-z0-9/._+@-]*) fail "a unit cannot name programs in $prefix; choose a plainer --prefix" ;;
  esac
  manifest=$root$prefix/share/hearth/install_manifest.txt
}

manager() { # systemctl for this scope
  if [ "$scope" = user ]; then systemctl --user "$@"; else systemctl "$@"; fi
}

# In a chroot systemctl ignores what it is told and calls that a success.
has_manager() {
  [ -z "$root" ] && [ -n "$(manager show --property=Version --value 2> /dev/null)" ]
}
