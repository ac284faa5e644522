#!/usr/bin/env bash
# Compares kuberelay with kubectl proxy; see test/bench/doc.go. Arguments go to
# the harness, for instance: -rounds 3 -check -with haproxy -json result.json
set -euo pipefail
cd "$(dirname "$0")/.."

exec go run ./test/bench "$@"
