# Sourced by tests/python and tests/schemathesis: one service of its own over a fresh folder, and an administrator.
#
# `serving NAME [SETTING=VALUE …]` needs `work` (a temporary folder) and sets `url` and `program`; `stop_serving` ends the
# service.

server=

serving() {
    local name=$1 line=
    shift
    program=${USER_REGISTRY:-}
    if [ -z "$program" ]; then
        cargo build --quiet --locked --bin user-registry
        program=${CARGO_TARGET_DIR:-target}/debug/user-registry
    fi
    program=$(realpath "$program")
    mkdir -p "$work/data"
    : >"$work/out" # it is read below, perhaps before the service's own shell has made it
    # Nothing of the environment's own settings; how often somebody may call is not what is asked here.
    env -i PATH="$PATH" HOME="$work" RUST_LOG="${RUST_LOG:-warn}" REGISTRY__LIMITS__ENABLED=false \
        REGISTRY__PASSWORDS__QUEUE=1000 REGISTRY__PASSWORDS__WAIT_MS=60000 "$@" \
        "$program" serve --data-dir "$work/data" --listen 127.0.0.1:0 >"$work/out" 2>"$work/log" &
    server=$!
    for _ in {1..600}; do
        line=$(sed -n 's/^listening on //p' "$work/out")
        [ -z "$line" ] || break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    [ -n "$line" ] || { cat "$work/log" >&2; echo "$name: the service does not listen" >&2; exit 1; }
    url=$line
    env -i PATH="$PATH" HOME="$work" "$program" admin create --data-dir "$work/data" --email boss@registry.example \
        --username boss --password-stdin <<<'seven green goats on a hill' >/dev/null
}

stop_serving() {
    [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null; wait "$server" 2>/dev/null; server=; }
}

# Makes a virtual environment in target/$1 with the packages that follow, once.
python_with() {
    local name=$1
    shift
    venv=${CARGO_TARGET_DIR:-$PWD/target}/$name
    command -v python3 >/dev/null || { echo "python3 is not installed, and $name needs it" >&2; exit 1; }
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$*" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv" || { echo "python3 has no venv (Debian: apt install python3-venv)" >&2; exit 1; }
        "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
        echo "$*" >"$venv/installed"
    fi
}
