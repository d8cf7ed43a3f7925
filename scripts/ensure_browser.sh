#!/usr/bin/env bash
# Installs headless Chromium from the system's packages, if it has the rights. Otherwise the browser tests are skipped.
set -uo pipefail
if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium for the browser tests ..."
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/tmp/modeldesk-chromium.log 2>&1; then exit 0; fi
    tail -n 3 /tmp/modeldesk-chromium.log
fi
echo "No Chromium here and no right to install one: the browser tests will be skipped by name."
