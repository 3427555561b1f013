#!/usr/bin/env bash
# From nothing to zero-shot accuracy: installs into .venv, renders and prepares the embedded videos, trains ER-ZSAR,
# VSE and DEVISE, and prints a table. A second call reuses what is there.   Usage: bash scripts/demo.sh [--seeds=3]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt
exec .venv/bin/python scripts/compare.py --methods=ervse,vse,devise --workdir=runs/demo "$@"
