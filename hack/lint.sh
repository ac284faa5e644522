#!/usr/bin/env bash
# Checks the code, or formats it: hack/lint.sh [fmt]
set -euo pipefail
cd "$(dirname "$0")/.."

linter=bin/golangci-lint
echo "building golangci-lint (3 to 5 minutes on two cores the first time, then cached)"
go build -modfile=hack/lint/go.mod -o "$linter" github.com/golangci/golangci-lint/v2/cmd/golangci-lint

if [ "${1:-}" = fmt ]; then
	"$linter" fmt ./...
	exit
fi
failed=0
for module in . test/lab test/e2e test/docs test/systemd hack/package; do
	[ -f "$module/go.mod" ] || continue
	echo "== golangci-lint: module $module"
	(cd "$module" && "$OLDPWD/$linter" run ./...) || failed=1
done
for script in hack/*.sh .ci/run; do
	bash -n "$script" || failed=1
done
exit "$failed"
