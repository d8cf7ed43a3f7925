#!/bin/sh
# Measures Modeldesk and its peers in one run. LiteLLM is installed once into its own environment. Without a network, its rows are skipped.
set -eu
cd "$(dirname "$0")/.."
PEER=.bench-venv
if [ ! -e "$PEER/.litellm" ] && [ "${BENCH_LITELLM:-yes}" = yes ]; then
    echo "Installing LiteLLM into $PEER, as a peer to measure against (once) ..."
    if .venv/bin/python -m venv "$PEER" && "$PEER/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        -r bench/litellm.txt >"$PEER/install.log" 2>&1; then
        touch "$PEER/.litellm"
    else
        echo "LiteLLM could not be installed (see $PEER/install.log); its rows are skipped."
    fi
fi
exec .venv/bin/python -m bench "$@"
