#!/usr/bin/env bash
# The installed tree, as a user has it: install_test.sh BUILD_FOLDER SOURCE_FOLDER
# Installs to a temporary prefix, runs the command from there, and builds the example against it.
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset BLIP_MODEL

cmake --install "$build" --prefix "$work/prefix" >/dev/null
wanted=$(python3 -c 'import json, sys; print(next(r["greedy"] for r in json.load(open(sys.argv[1])) if r["file_name"] == sys.argv[2]))' \
  "$source/models/default/samples/expected.json" test_pair-00065.png)

# From the prefix after it was moved: nothing may point back to the build tree or the old place.
mv "$work/prefix" "$work/moved prefix"
picture="$work/moved prefix/share/blip/model/samples/test_pair-00065.png"
got=$(cd / && "$work/moved prefix/bin/blip" caption "$picture")
[ "$got" = "$wanted" ] || { echo "blip caption said: $got"; exit 1; }

cmake -G Ninja -S "$source/examples/caption" -B "$work/example" -DCMAKE_PREFIX_PATH="$work/moved prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$work/example" >/dev/null
got=$("$work/example/caption_example" "$work/moved prefix/share/blip/model" "$picture")
[ "$got" = "$wanted" ] || { echo "the example said: $got"; exit 1; }

status=0
message=$("$work/example/caption_example" /no/such/model "$picture" 2>&1) || status=$?
[ $status -eq 3 ] || { echo "exit status $status: $message"; exit 1; }
