#!/usr/bin/env bash
# Makes dist/kuberelay_VERSION_ARCH.deb and its .rpm: hack/package.sh VERSION
# VERSION is a release (v1.2.3) or what git describe says of the tree. Set ARCH
# (amd64, arm64) for another architecture than this one's.
set -euo pipefail
cd "$(dirname "$0")/.."

release=$1
case $release in
v[0-9]*) PACKAGE_VERSION=$(sed -E 's/^v//; s/-rc/~rc/; s/-([0-9]+)-g/+\1.g/; s/-dirty$/+dirty/' <<<"$release") ;;
*) PACKAGE_VERSION=0.0.0+$(git rev-list --count HEAD 2>/dev/null || echo 0).$(tr -c 'A-Za-z0-9.\n' . <<<"$release") ;;
esac
ARCH=${ARCH:-$(go env GOARCH)}
MAINTAINER=${MAINTAINER:-kuberelay maintainers <maintainers@kuberelay.invalid>}
# Of the last commit, so that two builds of it are the same.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
export PACKAGE_VERSION ARCH MAINTAINER SOURCE_DATE_EPOCH

stage=dist/stage
rm -rf "$stage"
mkdir -p "$stage/man" "$stage/completion"
echo "building kuberelay $release for linux/$ARCH"
CGO_ENABLED=0 GOOS=linux GOARCH=$ARCH go build -trimpath -ldflags "-s -w -X main.release=$release -X github.com/kuberelay/kuberelay/admin.vcsRevision=$REVISION" -o "$stage/kuberelay" ./cmd/kuberelay
# Help and completion come from a program that runs here.
program=$stage/kuberelay
if [ "$ARCH" != "$(go env GOHOSTARCH)" ]; then
	program=$stage/kuberelay-here
	go build -o "$program" ./cmd/kuberelay
fi
(cd hack/package && go run ./manpages "../../$program" "$PACKAGE_VERSION" "$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)" "../../$stage/man")
(cd hack/package && go run ./notices ../..) >"$stage/THIRD-PARTY-NOTICES"
"$program" completion bash >"$stage/completion/kuberelay.bash"
"$program" completion fish >"$stage/completion/kuberelay.fish"
"$program" completion zsh >"$stage/completion/_kuberelay"
gzip -9nc CHANGELOG.md >"$stage/changelog.gz"
gzip -9nc >"$stage/changelog.Debian.gz" <<END
kuberelay ($PACKAGE_VERSION-1) stable; urgency=medium

  * See changelog.gz.

 -- $MAINTAINER  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
gzip -9n "$stage"/man/*.1

echo "building nfpm (a first build takes a minute or two)"
go build -C hack/package -o "$PWD/bin/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm
for format in deb rpm; do
	bin/nfpm package --config deploy/nfpm.yaml --packager "$format" --target dist/
done
