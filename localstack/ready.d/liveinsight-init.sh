#!/bin/sh
# LocalStack runs this in its own container when it is ready: `liveinsight init`, as everywhere, so that the stream and
# the tables are defined once. The checkout is mounted at SOURCE; it is installed beside LocalStack's state, once.
set -eu
source="${SOURCE:-/opt/liveinsight}"
venv="${VENV:-/var/lib/localstack/liveinsight}"

if [ ! -x "$venv/bin/liveinsight" ]; then
    # The checkout is mounted read-only, and pip builds where the source is.
    build="$(mktemp -d)"
    trap 'rm -rf "$build"' EXIT
    for part in setup.cfg pyproject.toml requirements.lock README.md LICENSE api ingest liveinsight processor; do
        cp -R "$source/$part" "$build/"
    done
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --constraint "$build/requirements.lock" "$build"
fi

# LocalStack takes any signature, but wants one.
export AWS_ENDPOINT_URL="${AWS_ENDPOINT_URL:-http://localhost:4566}"
export AWS_ACCESS_KEY_ID="${AWS_ACCESS_KEY_ID:-test}" AWS_SECRET_ACCESS_KEY="${AWS_SECRET_ACCESS_KEY:-test}"
"$venv/bin/liveinsight" init
