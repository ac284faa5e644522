#!/usr/bin/env bash
# The short form of make systemd-test, for CI: one host's life, by .deb and by
# .rpm. It needs root, debootstrap and systemd-nspawn, installs these where it
# has apt-get, and is skipped where they or the rights for them are not to be had.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
	echo "skipped: hosts with systemd are not tested here: $*"
	exit
}
[ "$(id -u)" = 0 ] || skip "that needs root"
if ! command -v debootstrap >/dev/null || ! command -v systemd-nspawn >/dev/null || ! command -v ip >/dev/null; then
	command -v apt-get >/dev/null || skip "debootstrap or systemd-nspawn is not installed, and there is no apt-get"
	echo "installing debootstrap, systemd-container and iproute2 with apt-get"
	if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends debootstrap systemd-container iproute2; } >/dev/null; then
		skip "apt-get could not install them"
	fi
fi
unshare --mount --net --pid --fork mount -t tmpfs tmpfs /mnt 2>/dev/null || skip "root may not make namespaces and mounts"

echo "booting hosts with systemd: about two minutes, the first time two more"
cd test/systemd
KUBERELAY_SYSTEMD_OPTIONAL=1 go test -count=1 -timeout=30m -run='TestOneHost|TestRPM' .
