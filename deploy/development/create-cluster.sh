#!/bin/sh
# Makes a cluster of the nodes that are named, each master with one replica; where there is one already, nothing.
#   create-cluster.sh HOST:PORT HOST:PORT …
set -eu
export REDISCLI_AUTH=development-admin

ask() {
  redis-cli --no-auth-warning --user readside-admin -h "${node%:*}" -p "${node#*:}" "$@"
}

# A node meets others by their addresses alone.
nodes=
for node in "$@"; do
  nodes="$nodes $(getent hosts "${node%:*}" | head -n 1 | cut -d ' ' -f 1):${node#*:}"
done

node=$1
if ! ask cluster info | grep -q cluster_state:ok; then
  # shellcheck disable=SC2086 (one word each)
  redis-cli --no-auth-warning --user readside-admin --cluster create $nodes --cluster-replicas 1 --cluster-yes
fi
for node in "$@"; do
  until ask cluster info | grep -q cluster_state:ok; do sleep 0.2; done
done
