#!/usr/bin/env bash
# Style and types, in .venv, without a network once installed.   Usage: bash scripts/lint.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt requirements-test.txt
.venv/bin/ruff check
exec .venv/bin/pyright
