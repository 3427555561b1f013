#!/usr/bin/env bash
# The published class lists, descriptions and vectors of Kinetics-ZSAR, UCF101, HMDB51 and Olympic Sports, into
# data/metadata. Give the same command again to go on.   Usage: bash scripts/download_metadata.sh [FOLDER]
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"
[ -x "$python" ] || python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "error: Python 3.11 or newer is needed, as $python; set PYTHON=/path/to/python3.11 to choose another." >&2
  exit 2
fi
exec "$python" "$root/scripts/download.py" metadata "$@"
