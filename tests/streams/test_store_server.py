"""A store on a PostgreSQL server: what is said of one that can't be reached, used, or written, and what holds then."""

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from detector.errors import DamagedStoreError, TocsinError, UnreachableError, UsageError
from detector.pipeline import Effects
from streams.engines.lock import RunnerActiveError, only_runner
from streams.outbox.kill_switch import kill_switch, set_kill_switch
from streams.store import Commit, Snapshot, Store, migrate, open_store
from streams.store import tables as t
from streams.store.database import where_of
from tests.servers import postgres as servers
from tests.servers.postgres import PASSWORD, Server
from tests.servers.stored import some_effects
from tests.streams.commands import Tocsin

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def store(postgres: Server) -> Iterator[Store]:
    with open_store(postgres.store_url()) as found:
        yield found


# --- opening ----------------------------------------------------------------------------------------------------------


def test_an_empty_database_becomes_a_store_where_it_may(postgres: Server) -> None:
    url = postgres.url(postgres.database())
    with pytest.raises(UsageError, match="there is no store here"):
        open_store(url)
    with open_store(url, create=True) as made, open_store(url) as found:
        assert made.customer_key == found.customer_key
        assert len(found.customer_key) == 32


def test_of_several_who_make_it_at_once_one_does(postgres: Server) -> None:
    url, keys, failed = postgres.url(postgres.database()), list[bytes](), list[BaseException]()

    def make() -> None:
        try:
            with open_store(url, create=True) as made:
                keys.append(made.customer_key)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(keys) == 4 and len(set(keys)) == 1


def test_a_schema_of_its_own_is_named_by_the_search_path(postgres: Server) -> None:
    name = postgres.database()
    urls = [postgres.url(name, options=f"-csearch_path%3D{schema}") for schema in ("one", "two", "none")]
    for schema in ("one", "two"):
        postgres.execute(f"CREATE SCHEMA {schema}", name)
    with open_store(urls[0], create=True) as one, open_store(urls[1], create=True) as two:
        one.commit(some_effects())
        assert two.tally() == {}
        with one.transaction() as connection:
            connection.execute(sa.delete(t.cases))
            with two.again(busy_ms=50) as hasty:
                hasty.commit(some_effects())  # they do not wait for each other
        assert one.tally() == two.tally()
    with pytest.raises(UsageError, match="the schema that its search_path names is not there"):
        open_store(urls[2], create=True)


@pytest.mark.parametrize("table", ["notes (a text)", "alembic_version (version_num text)"])
def test_another_programs_database_is_refused(postgres: Server, table: str) -> None:
    name = postgres.database()
    postgres.execute(f"CREATE TABLE {table}", name)
    if "alembic" in table:
        postgres.execute("INSERT INTO alembic_version VALUES ('ae1027a6acf')", name)
    with pytest.raises(UsageError, match="is not a store of Tocsin"):
        open_store(postgres.url(name), create=True)


def test_a_database_in_another_encoding_is_refused(postgres: Server) -> None:
    name = postgres.database("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(UsageError, match="expected a database in UTF8, found LATIN1; make another: createdb"):
        open_store(postgres.url(name), create=True)


def test_a_store_that_is_behind_is_migrated_by_one_of_several(postgres: Server) -> None:
    url = postgres.url(postgres.database())
    engine = sa.create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with engine.begin() as connection:
        migrate.upgrade(connection, "0001")
        connection.execute(sa.text("INSERT INTO meta VALUES ('customer_key', 'k')"))
    engine.dispose()
    failed = list[BaseException]()

    def use() -> None:
        try:
            open_store(url).close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with open_store(url) as store, store.reading() as connection:
        assert migrate.revision_of(connection) == migrate.HEAD


# --- what cannot be reached -------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_named_without_the_password(postgres: Server) -> None:
    url = f"postgresql://ani:{PASSWORD}@127.0.0.1:1/tocsin"
    with pytest.raises(
        UnreachableError, match=r"^postgresql://ani@127.0.0.1:1/tocsin: the server does not answer"
    ) as no:
        open_store(url)
    assert PASSWORD not in str(no.value)


def test_who_is_not_let_in_hears_so_without_the_password(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.execute(f"CREATE USER bob PASSWORD '{PASSWORD}'")
    name = postgres.database()
    postgres.execute(f"ALTER DATABASE {name} OWNER TO bob")
    wrong = postgres.url(name, user="bob:wr0ng")
    for url in (wrong, postgres.url(name, user="bob")):
        with pytest.raises(UnreachableError, match="the server lets this user not in") as refused:
            open_store(url, create=True)
        assert "wr0ng" not in str(refused.value)
    with open_store(postgres.url(name, user=f"bob:{PASSWORD}"), create=True) as store:
        assert PASSWORD not in str(store.where)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_store(postgres.url(name, user="bob")).close()
    with pytest.raises(UsageError, match="this user may not do that there"):
        open_store(postgres.url(postgres.database(), user="bob"), create=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("postgresql://ani:p@ss@h/db", "in a password write @ as %40", id="an @ too many"),
        pytest.param("postgresql://ani:s3@h", "expected postgresql://USER@HOST/DATABASE", id="no database"),
        pytest.param("postgresql://h:port/db", "expected postgresql://USER@HOST/DATABASE", id="a port that is none"),
        pytest.param("postgresql://ani@127.0.0.1:1/db?nonsense=1", "nonsense", id="a setting that is none"),
        pytest.param("mysql://ani:s3@h/db", "found a URL of mysql", id="another database"),
    ],
)
def test_a_url_that_cannot_be_used_is_named(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        open_store(url)
    assert not any(secret in str(refused.value) for secret in ("p@ss", "@ss", "s3"))


def test_a_label_holds_no_password_wherever_it_stood() -> None:
    url = "postgres://ani:s3cret@h:5/db?sslmode=require&sslpassword=s3cret&password=s3cret"
    assert str(where_of(url)) == "postgresql://ani@h:5/db?sslmode=require"


def test_a_database_that_is_not_there_is_to_be_made(postgres: Server) -> None:
    with pytest.raises(UsageError, match="there is no such database; make it: createdb"):
        open_store(postgres.url("nowhere"), create=True)


# --- while it is used -------------------------------------------------------------------------------------------------


def test_a_connection_that_is_lost_in_the_middle_undoes_the_step_and_the_next_connects_anew(
    postgres: Server, store: Store
) -> None:
    store.commit(some_effects())
    with pytest.raises(UnreachableError, match=r"the server went away|was lost"), store.transaction() as connection:
        connection.execute(sa.delete(t.cases))
        (pid,) = connection.execute(sa.text("SELECT pg_backend_pid()")).one()
        postgres.execute(f"SELECT pg_terminate_backend({pid})")
        connection.execute(sa.delete(t.ledger))
    store.commit(some_effects())
    assert store.tally()["events"] == {"": 12}


def test_a_server_that_was_killed_and_is_back_has_what_was_committed() -> None:
    with servers.running(fsync=True) as server, open_store(server.store_url()) as store:
        store.commit(some_effects(), Commit(snapshot=Snapshot(b"one", "h")))
        with pytest.raises(UnreachableError), store.transaction() as connection:
            connection.execute(sa.delete(t.cases))
            server.kill()
            connection.execute(sa.delete(t.ledger))
        with pytest.raises(UnreachableError, match="the server does not answer"):
            store.commit(some_effects())
        with pytest.raises(UnreachableError):
            store.tally()
        server.start()
        assert store.tally()["events"] == {"": 6}
        store.commit(some_effects(), Commit(snapshot=Snapshot(b"two", "h")))
        assert store.tally()["events"] == {"": 12}


def test_who_reads_cannot_write(store: Store) -> None:
    with pytest.raises(UnreachableError, match="cannot be written: the server is a standby or read-only"):
        with store.reading() as connection:
            connection.execute(sa.delete(t.cases))


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        pytest.param("53100", UnreachableError, "disk is full; nothing was lost", id="disk full"),
        pytest.param("53300", UnreachableError, "no connection left", id="too many connections"),
        pytest.param("40001", UnreachableError, "changed by another process", id="serialization"),
        pytest.param("57014", UnreachableError, "statement_timeout", id="statement timeout"),
        pytest.param("XX001", DamagedStoreError, "damaged; restore a backup", id="corrupted"),
        pytest.param("08006", UnreachableError, "was lost", id="connection"),
        pytest.param("P0001", TocsinError, "told so", id="something else"),
    ],
)
def test_what_the_server_reports_is_said_in_our_words(
    store: Store, code: str, kind: type[TocsinError], words: str
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'told so' USING ERRCODE = '{code}', DETAIL = 'b@example.com'; END $$"
    with pytest.raises(kind, match=words) as said, store.transaction() as connection:
        connection.exec_driver_sql(raising)
    assert "b@example.com" not in str(said.value)
    assert type(said.value) is kind


def test_a_writer_that_stands_still_is_cut_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from streams.store import postgres as ours

    assert f"'{ours.IDLE_MS}'" in ours._HOLD
    monkeypatch.setattr(ours, "_HOLD", ours._HOLD.replace(str(ours.IDLE_MS), "100"))
    with pytest.raises(UnreachableError), store.transaction() as connection:
        connection.execute(sa.delete(t.cases))
        with store.again(busy_ms=5_000) as other:  # it gets the lock as soon as the other is cut off
            other.commit(Effects())
        connection.execute(sa.delete(t.cases))


def test_the_kill_switch_waits_for_no_writer(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{str(store.where).rpartition('/')[2]}.kill").mkdir()  # nor does it need the file
    with store.again(busy_ms=100) as hasty, store.transaction():
        set_kill_switch(hasty, True, "cli:ani")
        assert kill_switch(hasty).on
    (tmp_path / f"{str(store.where).rpartition('/')[2]}.kill").rmdir()
    assert kill_switch(store).by == "cli:ani"


# --- one runner -------------------------------------------------------------------------------------------------------


def test_one_process_runs_a_tenant_and_another_may_run_another(postgres: Server) -> None:
    url = postgres.store_url()
    with open_store(url, tenant="a") as a, open_store(url, tenant="a") as again, open_store(url, tenant="b") as b:
        with only_runner(a):
            with only_runner(b), pytest.raises(RunnerActiveError, match="another process is running on this store"):
                with only_runner(again):
                    pass
        with only_runner(again):
            pass


def test_a_runner_whose_session_was_lost_has_lost_the_lock(postgres: Server, store: Store) -> None:
    held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    with open_store(postgres.url(str(store.where).rpartition("/")[2])) as other, only_runner(store):
        with other.reading() as connection:
            (pid,) = connection.execute(sa.text(held)).one()
        postgres.execute(f"SELECT pg_terminate_backend({pid})")
        end = time.monotonic() + 10
        while True:
            try:
                with only_runner(other):
                    break
            except RunnerActiveError:
                assert time.monotonic() < end
                time.sleep(0.02)


# --- commands ---------------------------------------------------------------------------------------------------------


def test_copies_are_made_and_put_back_by_the_servers_own_tools(
    postgres: Server, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tocsin = Tocsin(str(store.where), capsys)
    store.commit(some_effects())
    tocsin("db", "backup", str(tmp_path / "copy"), exits=2)
    assert f"pg_dump --format=custom --no-owner --file FILE --dbname '{store.where}'" in tocsin.err
    tocsin("db", "restore", str(tmp_path / "copy"), exits=2)
    assert "pg_restore --clean" in tocsin.err
    file = tmp_path / "tocsin.dump"
    tool = [str(postgres.programs / "pg_dump"), "--format=custom", "--no-owner", "--file", str(file), "--dbname"]
    subprocess.run([*tool, str(store.where)], check=True)
    into = postgres.url(postgres.database())
    tool = [str(postgres.programs / "pg_restore"), "--no-owner", "--dbname", into, str(file)]
    subprocess.run(tool, check=True)
    with open_store(into) as restored:
        assert restored.tally() == store.tally()
        assert restored.customer_key == store.customer_key


def test_the_other_commands_of_db_and_the_doctor_work(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    tocsin = Tocsin(str(store.where), capsys)
    store.commit(some_effects(), Commit(snapshot=Snapshot(b"state", "h")))
    assert tocsin.json("db", "migrate") == {"store": str(store.where), "schema": migrate.HEAD}
    assert tocsin.json("db", "prune")["cases"] == 0
    found = {one["what"]: one for one in tocsin.json("doctor")["findings"]}
    assert found["database server"]["state"] == "ok"
    assert found["store"]["found"].startswith(str(store.where))
