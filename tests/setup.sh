#!/bin/sh
# Sees to what pgweir needs on this machine: cargo, a C compiler, a PostgreSQL server of version 14 or newer with psql
# and pgbench; with the argument "lint" also rustfmt and clippy.
#
# Silent and quick when everything is there. What is missing is installed with apt-get where that can be done without a
# password; otherwise one line says exactly what to run, and the exit status is 1.
set -eu

version_min=14
PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin

main() {
    has cargo || refuse "cargo is missing: install Rust with rustup, then run this again"
    if [ "${1:-}" = lint ]; then
        cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
            refuse "rustfmt or clippy is missing: run  rustup component add rustfmt clippy"
    fi
    complete && return
    if [ -n "${PGWEIR_PG_BIN:-}" ] && ! has_server; then
        refuse "PGWEIR_PG_BIN names $PGWEIR_PG_BIN, which holds no PostgreSQL server of version $version_min or newer"
    fi
    if has apt-get; then
        install_with_apt
    elif has dnf; then
        refuse "$(missing): run  ${sudo_word}dnf install -y gcc postgresql-server postgresql postgresql-contrib"
    elif has zypper; then
        refuse "$(missing): run  ${sudo_word}zypper install -y gcc postgresql-server postgresql postgresql-contrib"
    elif has pacman; then
        refuse "$(missing): run  ${sudo_word}pacman -S --needed gcc postgresql"
    elif has apk; then
        refuse "$(missing): run  ${sudo_word}apk add gcc musl-dev postgresql postgresql-client postgresql-contrib"
    else
        refuse "$(missing): install these with this system's package manager"
    fi
}

# What this says is what the program itself looks for (src/demo/binaries.rs), in the same places.
has_server() {
    if [ -n "${PGWEIR_PG_BIN:-}" ]; then
        new_enough "$PGWEIR_PG_BIN"
        return
    fi
    for server_folder in $(echo "$PATH" | tr ':' ' ') /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /usr/local/pgsql/bin /usr/libexec/postgresql; do
        new_enough "$server_folder" && return
    done
    return 1
}

# Whether folder $1 holds a server of a version that will do.
new_enough() {
    [ -x "$1/postgres" ] || return 1
    server_real=$(dirname "$(readlink -f "$1/postgres")")
    [ -x "$server_real/initdb" ] && [ -x "$server_real/pg_basebackup" ] || return 1
    server_version=$("$server_real/postgres" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p')
    [ "${server_version:-0}" -ge "$version_min" ]
}

# Whether client program $1 is on PATH or beside the server that was found.
has_client() {
    has "$1" || [ -x "$server_real/$1" ]
}

has() {
    command -v "$1" >/dev/null 2>&1
}

complete() {
    has cc && has_server && has_client psql && has_client pgbench
}

# Names what is missing, for a message.
missing() {
    missing_list=
    has cc || missing_list="a C compiler"
    if ! has_server; then
        missing_list="${missing_list:+$missing_list and }a PostgreSQL server of version $version_min or newer"
    elif ! has_client psql || ! has_client pgbench; then
        missing_list="${missing_list:+$missing_list and }psql or pgbench"
    fi
    echo "$missing_list is missing"
}

install_with_apt() {
    packages=
    has cc || packages="gcc libc6-dev"
    if ! has_server || ! has_client psql || ! has_client pgbench; then
        packages="$packages postgresql"
        # pgbench comes with the server since PostgreSQL 10; an older packaging has it apart.
        ! has_server || has_client pgbench || packages="$packages postgresql-contrib"
    fi
    packages=${packages# }
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif has sudo && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        refuse "$(missing): run  ${sudo_word}apt-get install -y $packages"
    fi
    echo "$(missing): installing $packages"
    log=$(mktemp)
    trap 'restore_defaults; rm -f "$log"' EXIT
    trap 'exit 1' HUP INT TERM
    # Old lists of packages may still do, so only a failure to install counts.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y update >"$log" 2>&1 || true
    case " $packages " in *" postgresql "*) no_main_cluster ;; esac
    # shellcheck disable=SC2086 # a list of packages
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $packages \
        >>"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        refuse "apt-get could not install it: run  ${sudo_word}apt-get install -y $packages"
    }
    complete || refuse "$(missing), though $packages is installed: this system's own PostgreSQL may be too old;" \
        "install a newer one from the PostgreSQL project's apt archive, or name its folder in PGWEIR_PG_BIN"
}

# Debian's package makes a database cluster and starts it on port 5432, which nobody here asked for: pgweir brings its
# servers up itself. The setting that prevents it is put back as it was afterwards.
defaults=/etc/postgresql-common/createcluster.conf
packaged=/usr/share/postgresql-common/createcluster.conf
changed=
no_main_cluster() {
    $as_root mkdir -p "${defaults%/*}"
    # A copy that is there already is from a run that was killed, and nearer to the original.
    if [ -e "$defaults" ] && [ ! -e "$defaults.before-pgweir" ]; then
        $as_root cp -p "$defaults" "$defaults.before-pgweir"
    fi
    changed=yes
    # The last line that sets it wins.
    echo 'create_main_cluster = false' | $as_root tee -a "$defaults" >/dev/null
}

restore_defaults() {
    [ -n "$changed" ] || return 0
    changed=
    if [ -e "$defaults.before-pgweir" ]; then
        $as_root mv -f "$defaults.before-pgweir" "$defaults"
    elif [ -e "$packaged" ]; then
        $as_root cp "$packaged" "$defaults"
    else
        $as_root rm -f "$defaults"
    fi
}

refuse() {
    echo "pgweir: $*" >&2
    exit 1
}

server_real=/nonexistent
sudo_word=
[ "$(id -u)" = 0 ] || sudo_word="sudo "
main "$@"
