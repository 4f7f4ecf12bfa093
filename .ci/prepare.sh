# Sourced by quickstart, runtests and .ci/run: brings what is missing onto the machine and builds.
# Everything of ours stays under build/; only distribution packages go elsewhere, and are named first.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build_packages=(g++ cmake ninja-build ccache pkg-config python3-venv libboost-dev libmsgpack-cxx-dev
  libspdlog-dev libfmt-dev nlohmann-json3-dev libcli11-dev libpcre2-dev libutf8proc-dev
  libsystemd-dev libtomlplusplus-dev)
test_packages=(libgtest-dev clang-format chromium-headless-shell systemd dpkg-dev fakeroot file mandoc)
extended_packages=(clang clang-tidy libclang-rt-dev debootstrap mmdebstrap qemu-system-x86 e2fsprogs zsh fish)

torch_version=2.11.0
torch=(torch==$torch_version)
# libtorch_cpu needs these two and nothing else of the 4.6 GB that torch brings for GPUs.
torch_cpu_only=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
nvcc_wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88
  nvidia-cuda-cccl==13.0.85)
client_wheels=(numpy -e '.[cli]') # the hearth command itself, with msgpack, rich and pillow
test_wheels=(pytest ruff mypy prometheus-client aiohttp setuptools==80.9.0 twine==6.2.0 torchvision==0.26.0 transformers==5.23.0)

venv=$PWD/build/venv
python=$venv/bin/python

say() { printf '\033[1m%s\033[0m\n' "$*"; }
has_gpu() { ldconfig -p | grep -q 'libcuda\.so\.1'; } # as the engine itself looks for a driver
# The architectures of this machine's GPUs as "86;90", those too old for nvcc 13 left out; empty when
# nobody can tell.
own_architectures() {
  nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null |
    tr -d . | awk '/^[0-9]+$/ && $1 >= 75' | sort -un | paste -sd ';' || true
}
has_nvcc() { command -v nvcc > /dev/null || [ -x /usr/local/cuda/bin/nvcc ]; }

# need_packages NAME…: installs the distribution packages that are missing.
need_packages() {
  command -v dpkg-query > /dev/null || return 0 # not Debian: cmake will name what it misses
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2> /dev/null | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    as_root=(sudo)
    command -v sudo > /dev/null || {
      echo "Please run as root:  apt-get install ${missing[*]}" >&2
      return 1
    }
  fi
  say "Installing from the distribution: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" > build/apt.log 2>&1 || { tail -n 20 build/apt.log >&2; return 1; }
}

# need_wheels NAME OPTIONS…: pip install into build/venv, once for this list.
need_wheels() {
  local stamp
  stamp=$venv/.$1-$(printf '%s ' "$@" | cksum | cut -d' ' -f1)
  [ ! -e "$stamp" ] || return 0
  [ -x "$python" ] || python3 -m venv "$venv"
  say "Installing into build/venv: ${*:2}"
  "$python" -m pip install -q --disable-pip-version-check "${@:2}"
  touch "$stamp"
}

# nvcc from PATH, else from wheels, whose linker folder is not called what nvcc looks for.
need_nvcc() {
  ! has_nvcc || return 0
  need_wheels nvcc "${nvcc_wheels[@]}"
  local toolkit
  for toolkit in "$venv"/lib/python3*/site-packages/nvidia/cu13; do ln -sfn lib "$toolkit/lib64"; done
}

# Without a GPU the engine needs libtorch_cpu alone; with one, the whole wheel and a compiler.
prepare_build() {
  mkdir -p build
  need_packages "${build_packages[@]}"
  need_wheels client "${client_wheels[@]}"
  if has_gpu; then
    say "libtorch for the GPU: 2.5 GB to download, 4.6 GB on disk"
    need_wheels torch "${torch[@]}"
    need_nvcc
  else
    say "libtorch for the CPU: 0.5 GB to download, 1.2 GB on disk"
    need_wheels torch-cpu --no-deps "${torch[@]}" "${torch_cpu_only[@]}"
  fi
}

# The tests compare with torch and transformers themselves.
prepare_tests() {
  prepare_build
  need_packages "${test_packages[@]}"
  need_wheels torch "${torch[@]}"
  need_wheels tests "${test_wheels[@]}"
}

# build_preset PRESET [OPTION…]: configures and builds build/PRESET, quietly unless it fails. Every
# build of a run has the same warnings: other flags would compile all of it again.
build_preset() {
  local log=build/$1.log began=$SECONDS
  say "Building $1 (log: $log)"
  { cmake --preset "$@" -DHEARTH_WERROR="${HEARTH_WERROR:-OFF}" && cmake --build --preset "$1"; } > "$log" 2>&1 || {
    grep -E -A 12 'error:|Error|FAILED' "$log" | head -n 60 >&2 || true
    echo "The build failed; the whole log is $log" >&2
    return 1
  }
  echo "Built in $((SECONDS - began)) s"
}
