#!/usr/bin/env bash
# Runs every fuzz target of the product for a while: hack/fuzz.sh [10s]
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
targets=$(grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed -E 's|^\./([^:]*)/[^/:]*:[0-9]+:func (.*)|\1 \2|' | sort -u)
echo "$(wc -l <<<"$targets") fuzz targets, $time each"
failed=0
while read -r folder target; do
	echo "== $folder $target"
	if ! (cd "$folder" && go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" .); then
		failed=$((failed + 1))
	fi
done <<<"$targets"
echo "$failed fuzz targets failed"
[ "$failed" = 0 ]
