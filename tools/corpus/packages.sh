# Sourced by build and verify: the packages that the corpus is made of, in exactly the versions that are locked here.
#   prepare_python    sets packages, the folder they lie in, and python, an interpreter with the locked libraries
#   fetch_packages    does that, and fetches what the corpus is made of
# Nothing is fetched twice: each part's stamp holds the lock it was fetched by.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../packages.sh"
packages=${BLIP_CORPUS_PACKAGES:-$here/../../build/corpus-packages}

is_fetched() { cmp -s "$packages/$1.lock" "$here/$2"; }
set_fetched() { cp "$here/$2" "$packages/$1.lock"; }

fetch_python() {
  is_fetched python requirements.txt && return
  rm -rf "$packages/python"
  python3 -m venv "$packages/python"
  "$python" -m pip install -q --disable-pip-version-check --require-hashes --only-binary :all: -r "$here/requirements.txt"
  set_fetched python requirements.txt
}

fetch_npm() {
  is_fetched npm package-lock.json && return
  mkdir -p "$packages/npm"
  cp "$here/package.json" "$here/package-lock.json" "$packages/npm"
  (cd "$packages/npm" && npm ci --silent --ignore-scripts --no-audit --no-fund)
  set_fetched npm package-lock.json
}

fetch_openclipart() {
  is_fetched openclipart openclipart.sha256 && return
  local file name
  rm -rf "$packages/openclipart"
  mkdir -p "$packages/openclipart"
  cd "$packages/openclipart"
  while read -r _ file; do
    name=${file%_all.deb}
    name=${name/_/=}
    name=${name//%3a/:}
    if ! apt-get download -q -q -o APT::Sandbox::User=root "$name"; then
      echo "Debian's package $name cannot be fetched; perhaps apt-get update is needed, or it is of another release than bookworm" >&2
      return 1
    fi
  done <"$here/openclipart.sha256"
  sha256sum --quiet -c "$here/openclipart.sha256"
  for file in *.deb; do
    dpkg-deb -x "$file" .
    rm -- "$file"
  done
  cd - >/dev/null
  set_fetched openclipart openclipart.sha256
}

# easy-VQA is a wheel that holds pictures; it is unpacked, not installed.
fetch_easy_vqa() {
  is_fetched easy-vqa easy_vqa.txt && return
  mkdir -p "$packages/easy-vqa"
  (cd "$packages/easy-vqa" &&
    "$python" -m pip download -q --disable-pip-version-check --require-hashes --no-deps -r "$here/easy_vqa.txt" &&
    "$python" -m zipfile -e easy_vqa-1.0-py3-none-any.whl . && rm -- *.whl)
  set_fetched easy-vqa easy_vqa.txt
}

prepare_python() {
  mkdir -p "$packages"
  packages=$(cd "$packages" && pwd)
  python=$packages/python/bin/python
  if ! command -v npm >/dev/null || ! python3 -c 'import ensurepip' 2>/dev/null; then
    ensure_packages "${CORPUS_PACKAGES[@]}"
  fi
  fetch_python
}

fetch_packages() {
  prepare_python
  fetch_npm
  fetch_openclipart
}
