#!/usr/bin/env bash
# Installs the third-party mock server for the driver tests. Without npm, the tests that need it are skipped.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -e node_modules/@copilotkit/aimock/dist/cli.js ] && exit 0
if command -v npm >/dev/null && npm ci --ignore-scripts --no-audit --no-fund --silent >/dev/null 2>&1; then exit 0; fi
echo "The mock server could not be installed with npm: the tests against it will be skipped by name."
