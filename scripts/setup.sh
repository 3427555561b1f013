# Sourced by the other scripts: makes .venv with the requirements named in its arguments, once.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "error: Python 3.11 or newer is needed, as $python; set PYTHON=/path/to/python3.11 to choose another." >&2
  exit 2
fi
[ -x .venv/bin/pip ] || "$python" -m venv --clear .venv
for requirements in "$@"; do
  stamp=".venv/installed-$(basename "$requirements")"
  if ! cmp -s "$requirements" "$stamp"; then
    echo "Installing $requirements into .venv (a few minutes, once) ..."
    .venv/bin/pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$stamp"
  fi
done
