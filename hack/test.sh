#!/usr/bin/env bash
# Runs the tests of the given modules (folders) with the race detector, and
# counts them together. Arguments that begin with "-" go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

flags=() modules=()
for a in "$@"; do
	case $a in
	-*) flags+=("$a") ;;
	*) modules+=("$a") ;;
	esac
done

# The race detector needs cgo, hence a C compiler, which a fresh machine lacks.
compiler=$(CGO_ENABLED=1 go env CC)
compiler=${compiler%% *}
if ! command -v "$compiler" >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "the race detector needs a C compiler: installing gcc with apt-get"
	if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends gcc libc6-dev; } >/dev/null; then
		echo "apt-get could not install gcc"
	fi
	hash -r
fi
if command -v "$compiler" >/dev/null; then
	export CGO_ENABLED=1
	flags=(-race "${flags[@]}")
else
	echo "no C compiler ($compiler): testing WITHOUT the race detector; install gcc to have it"
fi

mkdir -p bin
go build -o bin/testcount ./internal/cmd/testcount

run() {
	local rc=0 m
	for m in "${modules[@]}"; do
		if [ ! -f "$m/go.mod" ]; then
			echo "there is no module in $m" >&2
			rc=1
			continue
		fi
		echo "== module $m: go test ${flags[*]} ./... (the first time, it compiles for minutes)"
		(cd "$m" && go test -json -timeout=30m "${flags[@]}" ./...) || rc=1
	done
	return "$rc"
}
run | bin/testcount
