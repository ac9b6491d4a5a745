# Sourced by tests/run, tests/python and tests/chaos: a PostgreSQL and a RabbitMQ, found or started. tests/run tells in which order.
#
# `provide_postgres` sets TEST_DATABASE_URL and `provide_rabbit` TEST_AMQP_URL, and each says which one it took. Both need
# `work`, a temporary folder. `end_servers` stops what was started; it belongs into the caller's trap.

rabbit_group=    # the process group of a private one
postgres_data=
postgres_bin=
containers=
policy=

say() { printf 'tests/%s: %s\n' "${0##*/}" "$*"; }
die() {
    printf 'tests/%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Ends a process group and waits until it is gone.
end_group() {
    kill -TERM -- "-$1" 2>/dev/null || return 0
    for _ in {1..150}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null
}

end_servers() {
    [ -z "$rabbit_group" ] || end_group "$rabbit_group"
    if [ -n "$postgres_data" ] && [ -f "$postgres_data/postmaster.pid" ]; then
        as postgres "$postgres_bin/pg_ctl" --pgdata="$postgres_data" --mode=immediate --silent stop >/dev/null 2>&1
    fi
    [ -z "$containers" ] || compose down --volumes --timeout 1 >/dev/null 2>&1
    [ -z "$policy" ] || rm -f "$policy"
}

# --- asking a server who it is ---------------------------------------------------------------------------------------
# Both protocols are spoken by hand as far as the greeting, because a machine with only Rust has no client for either.
# Descriptor 3 is the connection; messages are compared as hexadecimal text.

connect() { exec 3<>"/dev/tcp/$1/$2"; }

# The next $1 bytes, or fewer when the server says no more.
receive() {
    local limit=()
    ! command -v timeout >/dev/null || limit=(timeout 10)
    ${limit[@]+"${limit[@]}"} dd bs=1 count="$1" <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \n'
}

# A number as four bytes, highest first.
be32() { printf '%b' "$(printf '\\x%02x' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255)))"; }

from_hex() { printf '%b' "$(printf '%s' "$1" | sed 's/../\\x&/g')"; }

# Is there a PostgreSQL at host $1, port $2 that lets user $3 with password $4 into database $5, to create databases?
# Prints its version; or why not, and fails.
postgres_greets() (
    LC_ALL=C
    connect "$1" "$2" 2>/dev/null || { echo "nothing listens there"; exit 1; }
    {
        be32 $((4 + 4 + 5 + ${#3} + 1 + 9 + ${#5} + 1 + 1))
        printf '\0\3\0\0user\0%s\0database\0%s\0\0' "$3" "$5"
    } >&3
    version='' asked=''
    while kind=$(receive 1) && [ -n "$kind" ]; do
        length=$(receive 4)
        case "$kind$length" in [4-5]?0000????) ;; *) break ;; esac
        body=$(receive $((16#$length - 4)))
        case "$kind$body" in
            5200000000) ;; # let in
            52*)
                # Proving a password takes more than a shell; the tests will tell whether it is the right one.
                [ -n "$4" ] || { echo "it wants a password for $3"; exit 1; }
                echo "asks for the password"
                exit 0 ;;
            53*) # a setting
                setting=$(from_hex "$body" | tr '\0' ' ')
                case "$setting" in "server_version "*) version=${setting#* } ;; esac ;;
            5a*) # ready, first after the greeting and then after the question
                query="select 1 from pg_roles where rolname = current_user and (rolsuper or rolcreatedb)"
                if [ -z "$asked" ]; then
                    asked=yes
                    { printf Q; be32 $((4 + ${#query} + 1)); printf '%s\0' "$query"; } >&3
                else
                    echo "its user $3 may not create databases"
                    exit 1
                fi ;;
            44*) # a row: allowed
                version=${version%% *}
                echo "$version"
                exit 0 ;;
            45*) # an error, as fields each with a letter before it
                from_hex "$body" | tr '\0' '\n' | sed -n 's/^M//p'
                exit 1 ;;
        esac
    done
    echo "what answers is not PostgreSQL"
    exit 1
)

# Is there a RabbitMQ at host $1, port $2 that lets user $3 in with password $4? Prints as above.
amqp_greets() (
    LC_ALL=C
    connect "$1" "$2" 2>/dev/null || { echo "nothing listens there"; exit 1; }
    printf 'AMQP\0\0\11\1' >&3
    frame=$(receive 7)
    case "$frame" in 0100000000????) ;; *) echo "what answers is not AMQP 0-9-1"; exit 1 ;; esac
    start=$(receive $((16#${frame:6} + 1)))
    case "$start" in 000a000a*) ;; *) echo "what answers is not AMQP 0-9-1"; exit 1 ;; esac
    version=${start#*0776657273696f6e53} # the server property `version`, a string
    version=$(from_hex "${version:8:2*16#${version:6:2}}")
    response=$((2 + ${#3} + ${#4}))
    {
        printf '\1\0\0'
        be32 $((4 + 4 + 6 + 4 + response + 6))
        printf '\0\12\0\13\0\0\0\0\5PLAIN' # Start-Ok, no properties of ours
        be32 "$response"
        printf '\0%s\0%s\5en_US\316' "$3" "$4"
    } >&3
    frame=$(receive 7)
    case "$frame" in 01*) ;; *) echo "it does not let $3 in"; exit 1 ;; esac
    case "$(receive 4)" in
        000a001e) echo "$version" ;; # Tune: let in
        *) echo "it does not let $3 in"; exit 1 ;;
    esac
)

# --- 1. a server that was named --------------------------------------------------------------------------------------

decode() { printf '%b' "${1//%/\\x}"; }

# Checks the server that variable $1 names with greeter $2, standard port $3, standard user $4 and database $5.
use_named() {
    local url=${!1} answer
    local form='^[a-z]+://(([^:@/]*)(:([^@/]*))?@)?(\[[^]]*\]|[^:/?]*)(:([0-9]+))?(/([^?]*))?(\?.*)?$'
    [[ $url =~ $form ]] || die "$1 is not a URL"
    local user=${BASH_REMATCH[2]:-$4} password=${BASH_REMATCH[4]} host=${BASH_REMATCH[5]} port=${BASH_REMATCH[7]:-$3}
    local database=${BASH_REMATCH[9]:-$5} options=${BASH_REMATCH[10]}
    host=${host#[}
    host=${host%]}
    user=$(decode "$user")
    password=$(decode "$password")
    database=$(decode "${database:-$user}")
    case "$url$options" in
        amqps:* | *sslmode=require* | *sslmode=verify*)
            (connect "$host" "$port") 2>/dev/null || die "$1 is set, but nothing listens at $host:$port"
            answer="over TLS, so only its port was tried" ;;
        *)
            if [ -z "$host" ]; then
                answer="through a socket, not tried"
            else
                answer=$("$2" "$host" "$port" "$user" "$password" "$database") ||
                    die "$1 is set, but the server at $host:$port cannot be used: $answer"
            fi ;;
    esac
    say "$6: the one $1 names, $host:$port ($answer)"
}

# --- 2. a server on this machine -------------------------------------------------------------------------------------

local_postgres() {
    local answer
    [ "${TEST_NO_LOCALHOST:-}" != 1 ] || return 1
    answer=$(postgres_greets 127.0.0.1 5432 postgres '' postgres) || return 1
    TEST_DATABASE_URL=postgres://postgres@127.0.0.1:5432/postgres
    say "PostgreSQL: the one on 127.0.0.1:5432 ($answer)"
}

local_rabbit() {
    local answer
    [ "${TEST_NO_LOCALHOST:-}" != 1 ] || return 1
    answer=$(amqp_greets 127.0.0.1 5672 guest guest) || return 1
    TEST_AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f
    say "RabbitMQ: the one on 127.0.0.1:5672 ($answer)"
}

# --- 3. a private server ---------------------------------------------------------------------------------------------

# Runs the rest as user $1, or as nobody where there is none, when we are root: PostgreSQL refuses to run as root.
as() {
    local user=$1
    shift
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
        return
    fi
    id "$user" >/dev/null 2>&1 || user=nobody
    if command -v runuser >/dev/null; then
        (cd "$work" && exec runuser -u "$user" -- "$@")
    else
        # shellcheck disable=SC2016 # expanded by the inner shell
        (cd "$work" && exec su -s /bin/sh "$user" -c 'exec "$0" "$@"' -- "$@")
    fi
}

# A folder in ours that user $1 owns.
folder_for() {
    local user=$1
    chmod 711 "$work" # it passes through to its own
    id "$user" >/dev/null 2>&1 || user=nobody
    mkdir -p "$2"
    chmod 700 "$2"
    [ "$(id -u)" -ne 0 ] || chown "$user" "$2"
}

# The last of the given files that can be run.
newest() {
    local file found=
    for file in "$@"; do [ ! -x "$file" ] || found=$file; done
    [ -n "$found" ] && printf '%s\n' "$found"
}

# Puts a port nobody listens on into `port`. They stay below the ones the system gives to outgoing connections.
taken=' '
free_port() {
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        case "$taken" in *" $port "*) continue ;; esac
        (connect 127.0.0.1 "$port") 2>/dev/null && continue
        taken+="$port "
        return
    done
    die "found no free port"
}

# Waits up to $1 seconds, while process $2 lives, until the rest succeeds. Its output goes into `answer`.
wait_until() {
    local end=$((SECONDS + $1)) process=$2
    shift 2
    until answer=$("$@"); do
        kill -0 "$process" 2>/dev/null && [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

private_postgres() {
    local control
    control=$(newest "$(command -v pg_ctl || true)" /opt/homebrew/opt/postgresql@*/bin/pg_ctl /usr/pgsql-*/bin/pg_ctl \
        /usr/lib/postgresql/?/bin/pg_ctl /usr/lib/postgresql/??/bin/pg_ctl) || return 1
    postgres_bin=$(dirname "$control")
    [ -x "$postgres_bin/initdb" ] && [ -x "$postgres_bin/postgres" ] || return 1
    folder_for postgres "$work/postgres"
    as postgres "$postgres_bin/initdb" --pgdata="$work/postgres/data" --username=postgres --auth=trust \
        --encoding=UTF8 --locale=C --no-sync >"$work/initdb.log" 2>&1 ||
        { cat "$work/initdb.log" >&2; die "initdb of $postgres_bin failed"; }
    local port answer
    for _ in 1 2 3; do # another program may take the port between the choice and the start
        free_port
        postgres_data=$work/postgres/data
        # What is written need not outlive the machine, so it is not forced to the disk.
        if as postgres "$control" --pgdata="$postgres_data" --log="$work/postgres/log" --wait --timeout=60 --silent \
            --options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300 \
                -c fsync=off -c synchronous_commit=off -c full_page_writes=off" start >/dev/null &&
            answer=$(postgres_greets 127.0.0.1 "$port" postgres '' postgres); then
            TEST_DATABASE_URL=postgres://postgres@127.0.0.1:$port/postgres
            say "PostgreSQL: a private one from $postgres_bin on 127.0.0.1:$port ($answer)"
            return
        fi
    done
    cat "$work/postgres/log" >&2
    die "the private PostgreSQL did not start"
}

private_rabbit() {
    local server mapper home=$work/rabbit amqp distribution names port answer
    # Debian's command of that name insists on Debian's folders, so what it calls comes first.
    server=$(newest "$(command -v rabbitmq-server || true)" /opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server \
        /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server) || return 1
    mapper=$(newest /usr/lib/erlang/erts-*/bin/epmd "$(command -v epmd || true)") || return 1
    folder_for rabbitmq "$home"
    echo '[].' >"$home/plugins"
    printf '%s\n' 'disk_free_limit.absolute = 1MB' >"$home/rabbitmq.conf"
    : >"$home/environment"
    chmod 644 "$home"/*
    for _ in 1 2 3; do
        free_port; amqp=$port
        free_port; distribution=$port
        free_port; names=$port
        # Erlang would start its name server as a daemon, which stays. Ours comes first, on a port of its own, and ends.
        set -m
        # shellcheck disable=SC2016 # expanded by the inner shell
        as rabbitmq env HOME="$home" TMPDIR="$home" LANG=C.UTF-8 \
            ERL_EPMD_PORT="$names" ERL_EPMD_ADDRESS=127.0.0.1 \
            RABBITMQ_CONF_ENV_FILE="$home/environment" RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" \
            RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced.config" RABBITMQ_ENABLED_PLUGINS_FILE="$home/plugins" \
            RABBITMQ_NODENAME="tests-$$-$amqp@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$amqp" \
            RABBITMQ_DIST_PORT="$distribution" RABBITMQ_MNESIA_BASE="$home/data" RABBITMQ_LOG_BASE="$home" \
            RABBITMQ_GENERATED_CONFIG_DIR="$home/config" RABBITMQ_LOGS="$home/log" RABBITMQ_PID_FILE="$home/pid" \
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
            sh -c '
                "$1" & names=$!
                "$2" & server=$!
                trap "kill $names $server" TERM
                wait $server
                wait $server # the first one ends with the signal
                kill $names
            ' sh "$mapper" "$server" >"$work/rabbit.out" 2>&1 </dev/null &
        rabbit_group=$!
        set +m
        if wait_until 90 "$rabbit_group" amqp_greets 127.0.0.1 "$amqp" guest guest; then
            TEST_AMQP_URL=amqp://guest:guest@127.0.0.1:$amqp/%2f
            say "RabbitMQ: a private one from $server on 127.0.0.1:$amqp ($answer)"
            return
        fi
        end_group "$rabbit_group"
        rabbit_group=
    done
    cat "$work/rabbit.out" "$home/log" >&2 2>/dev/null || true
    die "the private RabbitMQ did not start"
}

# --- 4. a container --------------------------------------------------------------------------------------------------

compose() { docker compose --project-name "user-registry-tests-$$" --file tests/compose.yml "$@" </dev/null; }

# Starts service $1 and puts the address of its port $2 into `address`.
container() {
    command -v docker >/dev/null && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1 || return 1
    containers=yes
    compose up --detach --wait "$1" >"$work/compose.log" 2>&1 ||
        { cat "$work/compose.log" >&2; die "tests/compose.yml: $1 did not start"; }
    address=$(compose port "$1" "$2")
}

container_postgres() {
    local address answer
    container postgres 5432 || return 1
    answer=$(postgres_greets 127.0.0.1 "${address##*:}" postgres '' postgres) ||
        die "PostgreSQL's container cannot be used: $answer"
    TEST_DATABASE_URL=postgres://postgres@$address/postgres
    say "PostgreSQL: a container on $address ($answer)"
}

container_rabbit() {
    local address answer
    container rabbitmq 5672 || return 1
    answer=$(amqp_greets 127.0.0.1 "${address##*:}" guest guest) || die "RabbitMQ's container cannot be used: $answer"
    TEST_AMQP_URL=amqp://guest:guest@$address/%2f
    say "RabbitMQ: a container on $address ($answer)"
}

# --- 5. Debian's packages --------------------------------------------------------------------------------------------

install_package() {
    [ "$(id -u)" -eq 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null || return 1
    say "installing Debian's package $1"
    # Debian starts a server as soon as it is installed; 101 tells it not to.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$1"; } \
        >"$work/apt.log" 2>&1 </dev/null || { tail "$work/apt.log" >&2; die "Debian's $1 could not be installed"; }
    [ -z "$policy" ] || rm -f "$policy"
    policy=
}

packaged_postgres() { install_package postgresql && private_postgres; }
packaged_rabbit() { install_package rabbitmq-server && private_rabbit; }

# --- all of it -------------------------------------------------------------------------------------------------------

provide_postgres() {
    if [ -n "${TEST_DATABASE_URL:-}" ]; then
        use_named TEST_DATABASE_URL postgres_greets 5432 postgres '' PostgreSQL
        return
    fi
    local_postgres || private_postgres || container_postgres || packaged_postgres ||
        die "no PostgreSQL: set TEST_DATABASE_URL, install the postgresql package, or start Docker"
}

provide_rabbit() {
    if [ -n "${TEST_AMQP_URL:-}" ]; then
        use_named TEST_AMQP_URL amqp_greets 5672 guest / RabbitMQ
        return
    fi
    local_rabbit || private_rabbit || container_rabbit || packaged_rabbit ||
        die "no RabbitMQ: set TEST_AMQP_URL, install the rabbitmq-server package, or start Docker"
}
