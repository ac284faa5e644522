#!/usr/bin/env bash
# Tests the status page in headless Chromium; see test/page. In CI Chromium is
# installed, elsewhere a machine without it is told so, and nothing is tested.
# Screenshots go to KUBERELAY_SCREENSHOTS, by default bin/screenshots.
set -euo pipefail
cd "$(dirname "$0")/.."

browser=${CHROMIUM:-chromium}
if ! command -v "$browser" >/dev/null && [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "the status page is tested in Chromium: installing it with apt-get"
	if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core; } >/dev/null; then
		echo "apt-get could not install chromium"
	fi
	hash -r
fi
if ! command -v "$browser" >/dev/null; then
	echo "the status page is NOT tested: there is no $browser (Debian: apt-get install chromium; or set CHROMIUM to another one's path)"
	exit 0
fi
KUBERELAY_SCREENSHOTS=$(mkdir -p "${KUBERELAY_SCREENSHOTS:-bin/screenshots}" && cd "${KUBERELAY_SCREENSHOTS:-bin/screenshots}" && pwd)
export KUBERELAY_SCREENSHOTS
echo "screenshots: $KUBERELAY_SCREENSHOTS"
exec go test -tags=page -count=1 "$@" ./test/page
