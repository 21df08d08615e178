#!/bin/sh
# The service's role and its database, made by the superuser when a PostgreSQL is first set up: the role owns the
# database and is no superuser. Reads DB_USER, DB_PASSWORD and DB_NAME, and psql's own variables (PGHOST, PGUSER, ...).
set -eu
psql --no-psqlrc --set=ON_ERROR_STOP=1 --dbname=postgres ${POSTGRES_USER:+--username="$POSTGRES_USER"} <<'SQL'
\getenv role DB_USER
\getenv password DB_PASSWORD
\getenv name DB_NAME
CREATE ROLE :"role" LOGIN PASSWORD :'password';
-- Its errors are its own to log: PostgreSQL would repeat values in some of them.
ALTER ROLE :"role" SET log_min_messages = 'log';
CREATE DATABASE :"name" OWNER :"role";
SQL
