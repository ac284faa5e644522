#!/usr/bin/env bash
# Checks what make package has made: lintian on the .deb, rpm's own reading of
# the .rpm, links between the documents, mandoc on the manual pages, and in each
# shell a question to its completion. What is missing for that is installed where
# root has apt-get; elsewhere its check is skipped, which the last line says.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
skipped=
fail() {
	echo "WRONG: $*"
	failed=1
}
# has PROGRAM PACKAGE: whether the program is there, or could be installed.
has() {
	if ! command -v "$1" >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $2 with apt-get, for $1"
		if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$2"; } >/dev/null; then
			echo "apt-get could not install $2"
		fi
		hash -r
	fi
	if ! command -v "$1" >/dev/null; then
		echo "skipped: $1, which is not installed (apt-get install $2)"
		skipped+=" $1"
		return 1
	fi
	echo "== $1"
}

if has lintian lintian; then
	lintian --allow-root --fail-on error,warning --tag-display-limit 0 dist/*.deb || fail "lintian"
fi
if has rpm rpm; then
	for rpm in dist/*.rpm; do
		rpm --query --package --list --nosignature "$rpm" >dist/stage/rpm.list || fail "$rpm"
	done
fi

# Links to the package's own files; what is on the web has a scheme.
if has dpkg-deb dpkg; then
	unpacked=$(mktemp -d)
	trap 'rm -rf "$unpacked"' EXIT
	for deb in dist/*.deb; do
		dpkg-deb --extract "$deb" "$unpacked"
	done
	links=$(cd "$unpacked/usr/share/doc/kuberelay" && grep -roE --include='*.md' '\]\([^)# ]+' . | sed 's/\](//' | grep -Ev ':(https?|mailto):')
	while IFS=: read -r document link; do
		[ -e "$unpacked/usr/share/doc/kuberelay/$(dirname "$document")/$link" ] || fail "$document links to $link, which is not in the package"
	done <<<"$links"
fi

if has mandoc mandoc; then
	for page in dist/stage/man/*.1.gz; do
		gzip -dc "$page" >"${page%.gz}"
	done
	mandoc -T lint -W warning dist/stage/man/*.1 || fail "the manual pages"
	rm dist/stage/man/*.1
fi

# completes SHELL COMMAND...: whether the shell's answer to "kuberelay stat" has
# the command status.
completes() {
	local shell=$1 answer
	shift
	if ! answer=$(PATH=$PWD/dist/stage:$PATH "$@" 2>&1) || ! grep -q '^status' <<<"$answer"; then
		fail "completion of $shell: $answer"
	fi
}
# It takes the place of what prints the matches.
# shellcheck disable=SC2016
zsh='source dist/stage/completion/_kuberelay; _describe() { print -l -- $completions; }; words=(kuberelay stat) CURRENT=2; _kuberelay'
# shellcheck disable=SC2016
bash='source dist/stage/completion/kuberelay.bash; _init_completion() { words=(kuberelay stat) cword=1 cur=stat prev=kuberelay; }; __start_kuberelay; printf "%s\n" "${COMPREPLY[@]}"'
if has bash bash; then
	completes bash bash -c "$bash"
fi
if has zsh zsh; then
	completes zsh zsh -fc "autoload -U compinit; compinit -D -u; $zsh"
fi
if has fish fish; then
	completes fish fish --no-config --command 'source dist/stage/completion/kuberelay.fish; complete --do-complete "kuberelay stat"'
fi

for script in deploy/package/deb/* deploy/package/rpm/* deploy/keepalived/check-kuberelay; do
	sh -n "$script" || fail "$script"
done
if [ "$failed" = 0 ]; then
	echo "the packages are right${skipped:+, as far as they were checked; not with:$skipped}"
fi
exit "$failed"
