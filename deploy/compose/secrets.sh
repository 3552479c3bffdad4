#!/bin/sh
# Draws the passwords of docker-compose.yml into deploy/compose/secrets, once; what is there stays.
set -eu
directory="$(dirname "$0")/secrets"
umask 077
mkdir -p "$directory"
draw() {
  [ -s "$directory/$1" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$directory/$1"
}
draw postgres.password
draw grafana.password
# Filled later, with a token of the running service: tocsin token create --scope read --name prometheus
[ -e "$directory/prometheus.token" ] || : >"$directory/prometheus.token"
# The folder is closed to others; the files are not, or the containers' users could not read them.
chmod 644 "$directory"/*
echo "The secrets are in $directory."
