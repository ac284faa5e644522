#!/usr/bin/env bash
# Checks the systemd units: that systemd reads them, that they are as hardened as
# promised, and that the template differs from the service in its paths alone.
set -euo pipefail
cd "$(dirname "$0")/.."

# 1.5 of 10, where 0 is the best: systemd-analyze security.
threshold=15

if ! command -v systemd-analyze >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing systemd with apt-get, for systemd-analyze"
	if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends systemd; } >/dev/null; then
		echo "apt-get could not install systemd"
	fi
	hash -r
fi
if ! command -v systemd-analyze >/dev/null; then
	echo "the units are not checked: systemd-analyze is not installed"
	exit
fi

failed=0
fail() {
	echo "$*"
	failed=1
}

# Of the program, only that there is one is checked; it is not installed here.
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
for unit in systemd/*.service systemd/*.socket; do
	sed 's|/usr/bin/kuberelay|/bin/true|' "$unit" >"$units/$(basename "$unit")"
done
for unit in kuberelay.service kuberelay@one.service kuberelay.socket kuberelay-tls.socket kuberelay-api.socket kuberelay@one.socket; do
	if ! complaints=$(systemd-analyze verify --man=no --recursive-errors=no "$units/$unit" 2>&1) || [ -n "$complaints" ]; then
		fail "systemd-analyze verify $unit: $complaints"
	fi
done
for unit in systemd/kuberelay.service systemd/kuberelay@.service; do
	if ! systemd-analyze security --offline=true --threshold="$threshold" "$unit" >"$units/report"; then
		grep -v '✓' "$units/report" || cat "$units/report"
		fail "$unit: exposure above $threshold"
	fi
	tail -n 1 "$units/report"
done

# The template with its instance's names taken out is the service.
plain() { sed -E -e 's/ \(%i\)//; s/@NAME//g; s/kuberelay@\./kuberelay./g; s|/etc/kuberelay/%i.yaml|/etc/kuberelay/config.yaml|; s|kuberelay/%i|kuberelay|' "$1"; }
if ! diff <(plain systemd/kuberelay.service) <(sed '/^\[Unit\]$/,$!d' systemd/kuberelay@.service >"$units/template" && plain "$units/template"); then
	fail "systemd/kuberelay@.service is not systemd/kuberelay.service with %i: see above"
fi
if [ "$failed" = 0 ]; then
	echo "the units are right"
fi
exit "$failed"
