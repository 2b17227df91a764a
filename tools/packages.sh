# Sourced by tools/demo and tools/test: installs what is missing of Debian's packages.
#   ensure_packages NAME...
ensure_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! command -v apt-get >/dev/null; then
    echo "These packages are needed (Debian's names): ${missing[*]}" >&2
    return 1
  fi
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  echo "Installing: ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -q >/dev/null
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

# ocl-icd-opencl-dev: Debian's oneDNN names OpenCL in its CMake package.
BUILD_PACKAGES=(
  g++ cmake ninja-build pkg-config
  libdnnl-dev ocl-icd-opencl-dev libhwy-dev libjpeg62-turbo-dev libspng-dev libwebp-dev libtiff-dev libgif-dev
  libutf8proc-dev libboost1.81-dev libfaiss-dev libxxhash-dev libre2-dev nlohmann-json3-dev libcli11-dev
  libcurl4-openssl-dev libarchive-dev ccache
)
TEST_PACKAGES=(libgtest-dev libssl-dev python3 chromium chromium-driver python3-selenium python3-jsonschema)
# libtorch computes by whatever BLAS the system has: Debian's other ones are slower.
# libgloo-dev: headers that libtorch-dev names but does not bring.
TRAIN_PACKAGES=(libtorch-dev libblas-dev libopenblas0-openmp libgloo-dev libyaml-cpp-dev)
# Where python3 is Debian's own.
PYTHON_PACKAGES=(python3-dev python3-venv)
CHECK_PACKAGES=(clang-14 libclang-rt-14-dev libomp-14-dev clang-format-14)
# Of tools/corpus; apt-get download, dpkg-deb and the rest of Debian's base come with the system.
CORPUS_PACKAGES=(npm python3 python3-venv)
