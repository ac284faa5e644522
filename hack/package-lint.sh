#!/usr/bin/env bash
# Checks what make package has made: lintian on the .deb, rpm's own reading of
# the .rpm, mandoc on the manual pages, shells on the completions.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
check() {
	local program=$1 package=$2
	shift 2
	if ! command -v "$program" >/dev/null; then
		echo "not checked with $program, which is not installed: apt-get install $package"
		return
	fi
	echo "== $*"
	"$@" || failed=1
}

check lintian lintian lintian --allow-root --fail-on error,warning --tag-display-limit 0 dist/*.deb
for rpm in dist/*.rpm; do
	check rpm rpm rpm --query --package --list --nosignature "$rpm" >dist/stage/rpm.list
done
for page in dist/stage/man/*.1.gz; do
	gzip -dc "$page" >"${page%.gz}"
done
check mandoc mandoc mandoc -T lint -W warning dist/stage/man/*.1
rm dist/stage/man/*.1
check bash bash bash -n dist/stage/completion/kuberelay.bash
check zsh zsh zsh -n dist/stage/completion/_kuberelay
check fish fish fish --no-execute dist/stage/completion/kuberelay.fish
for script in deploy/package/deb/* deploy/package/rpm/* deploy/keepalived/check-kuberelay; do
	sh -n "$script" || failed=1
done
if [ "$failed" = 0 ]; then
	echo "the packages are right"
fi
exit "$failed"
