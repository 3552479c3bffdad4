"""`tocsin token`: who may ask the service, by token or by a link that signs in once.

It works on the store's file, so whoever can write that may do it, with the service running or not.
"""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.errors import UsageError
from detector.fields import parse_duration_ms, shown
from streams.cli import common
from streams.cli.common import config_option, json_option, option, store_option

if TYPE_CHECKING:
    from streams.store import Store
    from streams.store.tokens import Token

SCOPES = ("ingest", "read", "operate", "admin")


@common.group(
    example="tocsin token create --scope ingest --name shop-web --expires 90d\n"
    "tocsin token list\ntocsin token revoke 3f2a91bc04d7\ntocsin token link"
)
def command() -> None:
    """Make and revoke the tokens that programs come with, and links that sign a person in."""


scope_option = option(
    "--scope",
    type=click.Choice(SCOPES),
    required=True,
    help="What it allows: send events; read; work on cases as well; everything.",
)


@command.command("create", example="tocsin token create --scope read --name grafana --expires 90d")
@scope_option
@option("--name", default="", show_default=False, metavar="TEXT", help="What it is for, as the list shows it.")
@option("--expires", default=None, metavar="DURATION", help="After how long it opens nothing any more, such as 90d.")
@config_option
@store_option
@json_option
def create_command(scope: str, name: str, expires: str | None, config: Path | None, db: str, as_json: bool) -> None:
    """Make a token and show it, this once: the store keeps only its hash."""
    from streams.clock import SystemClock
    from streams.store import tokens

    now_ms = SystemClock().now_ms()
    with _open(db, config) as store:
        expires_ms = None if expires is None else now_ms + _duration("--expires", expires)
        made = tokens.create(store, tokens.Scope(scope), name, _login(), now_ms, expires_ms=expires_ms)
    if as_json:
        common.print_json({"id": made[0], "token": made[1], "scope": scope, "expires": common.utc(expires_ms)})
        return
    click.echo(made[1])
    common.say(f"Token {made[0]} ({scope}): keep it now, nothing shows it again. Send it as `Authorization: Bearer …`")


@command.command("list", example="tocsin token list --json")
@config_option
@store_option
@json_option
def list_command(config: Path | None, db: str, as_json: bool) -> None:
    """List the tokens, revoked and expired ones too; never the tokens themselves."""
    from streams.clock import SystemClock
    from streams.store import tokens

    now_ms = SystemClock().now_ms()
    with _open(db, config) as store:
        found = [_document(token, now_ms) for token in tokens.listed(store)]
    if as_json:
        common.print_json(found)
        return
    if not found:
        click.echo("No tokens.")
        return
    columns = ("id", "scope", "name", "standing", "created", "by", "used", "expires")
    common.print_table(columns, [[token[name] for name in columns] for token in found], spare=("by", "created"))


@command.command("revoke", example="tocsin token revoke 3f2a91bc04d7")
@click.argument("token", metavar="ID")
@config_option
@store_option
@json_option
def revoke_command(token: str, config: Path | None, db: str, as_json: bool) -> None:
    """Make a token open nothing any more; a running service knows within a second."""
    from streams.clock import SystemClock
    from streams.store import tokens

    now_ms = SystemClock().now_ms()
    with _open(db, config) as store:
        found = tokens.revoke(store, token, _login(), now_ms)
    if as_json:
        common.print_json(_document(found, now_ms))
    else:
        common.say(f"Token {found.id} is revoked")


@command.command("link", example="tocsin token link --scope operate")
@option(
    "--scope",
    type=click.Choice(SCOPES[1:]),
    default="admin",
    help="What whoever signs in by it may do.",
)
@option("--for", "span", default="1h", metavar="DURATION", help="How long the link can be used.")
@config_option
@store_option
@json_option
def link_command(scope: str, span: str, config: Path | None, db: str, as_json: bool) -> None:
    """Print a link that signs a browser in, once: at the address where the service runs."""
    from streams.clock import SystemClock
    from streams.settings import defaults_directory, load
    from streams.store import sign_ins, standing, tokens

    now_ms = SystemClock().now_ms()
    valid_ms = _duration("--for", span)
    service = load(config or defaults_directory()).service
    with _open(db, config) as store:
        person = f"person:{getpass.getuser()}"
        code = sign_ins.make_link(store, tokens.Scope(scope), person, _login(), now_ms, valid_ms=valid_ms)
        running = standing.address(store, now_ms)
    host = "127.0.0.1" if service.host in ("0.0.0.0", "::") else service.host
    base = service.public_url or running or f"http://{f'[{host}]' if ':' in host else host}:{service.port}"
    link = f"{base.rstrip('/')}/sign-in?code={code}"
    if as_json:
        common.print_json({"link": link, "scope": scope, "expires": common.utc(now_ms + valid_ms)})
    else:
        click.echo(link)


@command.command("sign-out", example="tocsin token sign-out ani@shop.example")
@click.argument("person", metavar="[PERSON]", required=False)
@config_option
@store_option
@json_option
def sign_out_command(person: str | None, config: Path | None, db: str, as_json: bool) -> None:
    """Sign PERSON out of every browser, or everybody where nobody is named: at once, on the server."""
    from streams.clock import SystemClock
    from streams.store import sign_ins

    who = None if person is None else f"person:{person.removeprefix('person:')}"
    with _open(db, config) as store:
        closed = sign_ins.close_all(store, _login(), SystemClock().now_ms(), who=who)
    if as_json:
        common.print_json({"browsers": closed})
    else:
        common.say(f"{closed} browsers are signed out")


def _open(db: str, config: Path | None) -> "Store":
    """Open the store; with a configuration a new one is made, so that a token can be there before the service is."""
    from streams.settings import load

    settings = None if config is None else load(config)
    return common.open_store(db, settings, create=settings is not None)


def _login() -> str:
    return f"cli:{getpass.getuser()}"


def _duration(flag: str, text: str) -> int:
    found = parse_duration_ms(text)
    if not found:
        message = f"{flag}: expected a duration such as 90d, found {shown(text)}"
        raise UsageError(message)
    return found


def _document(token: "Token", now_ms: int) -> dict[str, Any]:
    return {
        "id": token.id,
        "scope": token.scope.value,
        "name": token.name,
        "standing": token.standing(now_ms).value,
        "by": token.by,
        "created": common.utc(token.created_ms),
        "expires": common.utc(token.expires_ms),
        "used": common.utc(token.used_ms),
        "revoked": common.utc(token.revoked_ms),
    }
