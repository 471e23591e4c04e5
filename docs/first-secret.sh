#!/bin/sh
# From a clone to the first stored secret, in a home of its own; prints how long it took.
#
#   docs/first-secret.sh [REPOSITORY]    REPOSITORY: what to clone; by default the one this script lies in
#
# NCRED=PROGRAM leaves clone and build out and uses that program.
set -eu

repository=${1:-$(cd "$(dirname "$0")/.." && pwd)}
begin=$(date +%s)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM

if [ -z "${NCRED:-}" ]; then
    git clone --quiet --depth 1 "file://$repository" "$place/clone" 2>/dev/null ||
        git clone --quiet --depth 1 "$repository" "$place/clone"
    echo "building ncred; this takes some minutes"
    cargo install --quiet --locked --path "$place/clone/crates/credential-cli" --root "$place/tools"
    NCRED=$place/tools/bin/ncred
    echo "built after $(($(date +%s) - begin)) seconds"
fi

mkdir -m 700 "$place/home"
ncred() {
    env -u XDG_CONFIG_HOME -u XDG_DATA_HOME HOME="$place/home" "$NCRED" "$@"
}

ncred init
echo '{"api_key": "sk-example-1", "endpoint": "https://api.example.com"}' | ncred put stripe --type api_key
ncred get stripe
test "$(ncred get stripe --field api_key --reveal)" = sk-example-1

echo "a first secret is stored after $(($(date +%s) - begin)) seconds"
