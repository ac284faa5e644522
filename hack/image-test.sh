#!/usr/bin/env bash
# Builds deploy/Containerfile and runs the image: hack/image-test.sh (root).
# Where no registry can be reached, stand-ins take the names of its base images:
# Debian with this machine's Go, and an empty root with certificates.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ] || ! command -v buildah >/dev/null; then
	echo "the image is not built here: that needs root and buildah (apt-get install buildah crun)"
	exit
fi
work=$(mktemp -d)
daemon=
images() { buildah --root "$work/images" --runroot "$work/run" "$@"; }
finish() {
	if [ -n "$daemon" ]; then
		kill "$daemon"
		wait "$daemon"
	fi
	images rm --all >/dev/null
	if mountpoint --quiet "$work/images/overlay"; then
		umount "$work/images/overlay"
	fi
	rm -rf "$work"
}
trap finish EXIT

# stand_in NAME FILL: an image of that name, whose root FILL has filled.
stand_in() {
	local container
	container=$(images from scratch)
	"$2" "$(images mount "$container")"
	images config --env PATH=/usr/local/go/bin:/usr/bin:/bin "$container"
	images commit --quiet --rm "$container" "$1" >/dev/null
}
# certificates of this machine: a proxy's own may be among them.
certificates() { install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"; }
golang() {
	debootstrap --variant=minbase --include=ca-certificates bookworm "$1" >"$work/debootstrap" || { cat "$work/debootstrap"; exit 1; }
	cp -a "$(go env GOROOT)" "$1/usr/local/go"
	certificates "$1"
}
distroless() {
	certificates "$1"
	echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$1/etc/passwd"
	mkdir -p "$1/tmp" "$1/home/nonroot"
}
for base in $(sed -n 's/^FROM \([^ ]*\).*/\1/p' deploy/Containerfile); do
	if timeout 120 buildah --root "$work/images" --runroot "$work/run" pull --quiet "$base" >/dev/null 2>&1; then
		echo "$base: pulled"
		continue
	fi
	echo "$base: cannot be pulled, a stand-in is made"
	case $base in
	*golang*) stand_in "$base" golang ;;
	*) stand_in "$base" distroless ;;
	esac
done

echo "building the image (it compiles all of kuberelay: 2 to 4 minutes)"
images build --quiet --pull-never --isolation chroot --file deploy/Containerfile --build-arg VERSION=v0.0.1 --build-arg REVISION=0123abc --tag kuberelay .
container=$(images from --pull-never localhost/kuberelay)
root=$(images mount "$container")

failed=0
is() {
	if [ "$2" = "$3" ]; then
		echo "ok: $1: $2"
	else
		echo "WRONG: $1 is $2, want $3"
		failed=1
	fi
}
field() { images inspect --format "{{.OCIv1.Config.$1}}" "$container"; }
is "what can be run in it" "$(find "$root" -type f -perm -0100 -printf '%P ')" "usr/bin/kuberelay "
is "its user" "$(field User)" 65532:65532
is "what it starts" "$(field Entrypoint) $(field Cmd)" "[/usr/bin/kuberelay] [serve --config=/etc/kuberelay/config.yaml]"
is "its version's label" "$(images inspect --format '{{index .OCIv1.Config.Labels "org.opencontainers.image.version"}}' "$container")" v0.0.1
run=(images run --isolation chroot --volume "$work/etc:/etc/kuberelay:ro" "$container" -- /usr/bin/kuberelay)

mkdir "$work/etc"
echo a-token-that-no-server-asks-for >"$work/etc/prod.token"
cat >"$work/etc/kubeconfig" <<END
{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}], contexts: [{name: c, context: {cluster: c}}]}
END
sum=$(printf %s a-token-of-a-client | sha256sum | cut -d ' ' -f 1)
cat >"$work/etc/config.yaml" <<END
apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters: [{name: prod, kubeconfig: {path: /etc/kuberelay/kubeconfig}, discovery: {mode: none}}]
credentials: [{name: prod, tokenFile: /etc/kuberelay/prod.token}]
policies: [{name: all, rules: [{verbs: ["*"], nonResourceURLs: ["*"]}]}]
clients: [{name: ci, match: [{tokenSHA256: "$sum"}], grants: [{cluster: prod, credential: prod, policy: all}]}]
listeners: [{name: tokens, address: "127.0.0.1:18443", mode: shared, cluster: prod, identify: [bearer]}]
admin: {address: "127.0.0.1:19801"}
END
chown -R 65532:65532 "$work/etc"
chmod 0600 "$work"/etc/*
is "kuberelay --version" "$("${run[@]}" --version | cut -d ' ' -f 1,2)" "kuberelay v0.0.1"
"${run[@]}" check --config /etc/kuberelay/config.yaml || failed=1

# buildah passes no signal on: what serves runs without it, on the image's files.
cp -a "$work/etc/." "$root/etc/kuberelay/"
chroot --userspec=65532:65532 "$root" /usr/bin/kuberelay serve --config=/etc/kuberelay/config.yaml >"$work/log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
	curl --silent --fail --output /dev/null http://127.0.0.1:19801/healthz && break
	sleep 0.2
done
is "/healthz" "$(curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:19801/healthz)" 200
is "its revision" "$(curl --silent http://127.0.0.1:19801/metrics | grep -o 'revision="[^"]*"')" 'revision="0123abc"'
is "a stranger" "$(curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:18443/version)" 401
[ "$failed" = 0 ] || cat "$work/log"
exit "$failed"
