#!/usr/bin/env bash
# Checks what is shipped for Prometheus and Grafana: promtool on the rules and
# their tests, then every expression of the rules and of the dashboard against
# a real Prometheus that scrapes a real kuberelay (test/prometheus). It takes
# about a minute and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian's package starts a service when it is installed, so its programs are
# only unpacked, below bin.
if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
	tools=$PWD/bin/prometheus
	if [ ! -x "$tools/usr/bin/promtool" ] && command -v apt-get >/dev/null; then
		echo "prometheus and promtool are not installed: unpacking Debian's package into bin/prometheus"
		mkdir -p "$tools"
		(
			cd "$tools"
			if [ "$(id -u)" = 0 ]; then apt-get -qq update; fi
			# _apt, as whom root's apt-get downloads, may not write here.
			apt-get -qq -o APT::Sandbox::User=root download prometheus
			dpkg-deb -x prometheus_*.deb .
			rm prometheus_*.deb
		)
	fi
	PATH=$tools/usr/bin:$PATH
fi
if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
	echo "this needs the programs prometheus and promtool: install the package prometheus, or put them into PATH" >&2
	exit 1
fi

promtool check rules deploy/prometheus/kuberelay.rules.yml
promtool test rules deploy/prometheus/kuberelay.rules_test.yml

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
echo "building kuberelay (a first build compiles client-go: 1 to 3 minutes)"
CGO_ENABLED=0 go build -o "$built/kuberelay" ./cmd/kuberelay
go build -o "$built/check" ./test/prometheus
"$built/check" -kuberelay "$built/kuberelay"
