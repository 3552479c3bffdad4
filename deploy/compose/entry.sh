# What each process of Tocsin begins with: the database's password, out of its file into this process' environment.
PGPASSWORD="$(cat /run/secrets/postgres-password)"
export PGPASSWORD
