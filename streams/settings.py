"""Reads a configuration directory (tocsin.yml, signals.yml, customers.csv) into one value.

Every mistake of both files is listed at once, with its path. A directory without tocsin.yml runs on the defaults.
Secrets stand in no file: a setting names the environment variable or the file that holds it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.calendar import CalendarSpec
from detector.config import Config, Input, Policy
from detector.errors import ConfigError, Problem
from detector.fields import did_you_mean, listed, shown
from detector.signals import Signal, parse_signals
from detector.watch.plugins.resolve import problems as detector_problems
from streams.intake.formats import BUILT_IN, check_formats
from streams.sections import (
    AlertmanagerSection,
    Document,
    KafkaSection,
    SecretReference,
    SendingSection,
    ServiceSection,
    parse_document,
)
from streams.yamlfile import read_yaml

TOCSIN, SIGNALS, CUSTOMERS = "tocsin.yml", "signals.yml", "customers.csv"

_SECRET_BYTES = 16


@dataclass(frozen=True)
class Secret:
    """A secret by reference; its value is read where it is used, and never kept or shown."""

    where: str
    env: str | None = None
    file: Path | None = None

    def read(self, least: int = _SECRET_BYTES) -> bytes:
        """Return the secret.

        Parameters
        ----------
        least : int
            So many bytes it must have: others' passwords and tokens may be shorter than what we ask of our own.

        Raises
        ------
        ConfigError
            It is not there, or shorter than that.
        """
        if self.env is not None:
            found, source = os.environb.get(self.env.encode(), b""), f"the environment variable {self.env}"
        else:
            assert self.file is not None
            source = f"the file {self.file.name}"
            try:
                found = self.file.read_bytes()
            except OSError:
                found = b""
        found = found.strip()
        if len(found) < least:
            size = f"{len(found)} bytes" if found else "nothing"
            allowed = f"a secret of {least} bytes or more" if least > 1 else "a secret"
            raise ConfigError([Problem(self.where, f"{size} in {source}", allowed)])
        return found


@dataclass(frozen=True)
class Settings:
    """A configuration directory, read and checked.

    Attributes
    ----------
    config
        What the engines get; its hash is a record of the log.
    format
        The input's format unless a command names another.
    formats
        Mapping documents by name, as they stand in tocsin.yml.
    customers
        The customer directory's file; None where there is none.
    customer_key
        Where the key for hashing customers' ids is; None: each store draws its own.
    """

    directory: Path
    config: Config
    format: str
    formats: Mapping[str, Mapping[str, Any]]
    customers: Path | None
    customer_key: Secret | None
    service: ServiceSection = field(default_factory=ServiceSection)
    sending: SendingSection = field(default_factory=SendingSection)
    kafka: KafkaSection = field(default_factory=KafkaSection)
    alertmanager: AlertmanagerSection | None = None
    channels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What carries each channel's messages, by the channel's name, as it stands in tocsin.yml; each provider checks
    its own (`streams.outbox.channel`)."""


def defaults_directory() -> Path:
    """Return where the commented defaults are: beside this file when installed, else `deploy/config`."""
    here = Path(__file__).parent
    installed = here / "config"
    return installed if installed.is_dir() else here.parent / "deploy" / "config"


def load(directory: Path) -> Settings:
    """Return the settings of a directory.

    Raises
    ------
    ConfigError
        With every mistake of tocsin.yml and signals.yml.
    """
    if not (directory / SIGNALS).is_file():
        found = f"none in {directory}" if directory.is_dir() else f"no directory {directory}"
        do = "`tocsin init` writes a configuration that runs"
        raise ConfigError([Problem(SIGNALS, found, "a file that says what is watched", do)])
    problems: list[Problem] = []
    document = Document()
    base_window_ms = 1_000  # every window is a multiple of it: no complaints that only follow from a broken tocsin.yml
    try:
        if (directory / TOCSIN).exists():
            document = parse_document(read_yaml(directory / TOCSIN))
            problems += _format_problems(document)
        base_window_ms = document.input.window
    except ConfigError as error:
        problems += error.problems
    signals: tuple[Signal, ...] = ()
    try:
        signals = parse_signals(read_yaml(directory / SIGNALS), SIGNALS, base_window_ms=base_window_ms)
    except ConfigError as error:
        problems += error.problems
    problems += detector_problems(signals, SIGNALS)
    customers = directory / document.customers
    if not customers.is_file() and "customers" in document.model_fields_set:
        problems.append(Problem(f"{TOCSIN}: customers", shown(document.customers), "a file that is there"))
    if problems:
        raise ConfigError(problems)
    return Settings(
        directory=directory,
        config=config_of(document, signals),
        format=document.input.format,
        formats=document.formats,
        customers=customers if customers.is_file() else None,
        customer_key=secret_of(document.privacy.customer_key, f"{TOCSIN}: privacy.customer_key", directory),
        service=document.service,
        sending=document.sending,
        kafka=document.kafka,
        alertmanager=document.alertmanager,
        channels=document.channels,
    )


def _format_problems(document: Document) -> list[Problem]:
    """Return the mistakes in the formats, and whether the input's is one of them."""
    problems = check_formats(document.formats, TOCSIN)
    known = [*BUILT_IN, *document.formats]
    name = document.input.format
    if name not in known:
        problems.append(Problem(f"{TOCSIN}: input.format", shown(name), listed(known), did_you_mean(name, known)))
    return problems


def secret_of(reference: SecretReference | None, where: str, directory: Path) -> Secret | None:
    """Return the secret that a reference at `where` names; files are relative to the configuration's directory."""
    if reference is None:
        return None
    return Secret(where, env=reference.env, file=None if reference.file is None else directory / reference.file)


def config_of(document: Document, signals: tuple[Signal, ...]) -> Config:
    """Return what the engines get."""
    given, limits, notices, calendar = document.input, document.limits, document.notices, document.calendar
    return Config(
        tenant=document.tenant,
        signals=signals,
        contacts=document.contacts,
        budget=document.budget,
        calendar=CalendarSpec(country=calendar.country, time_zone=calendar.time_zone, days=calendar.days),
        input=Input(
            window_ms=given.window,
            lateness_ms=given.lateness,
            skew_ms=given.skew,
            leap_ms=given.leap,
            people_ms=given.people,
            recovery_ms=given.recovery,
            max_values=limits.values,
            max_cells=limits.cells,
            max_unrecovered=limits.unrecovered,
            max_record_bytes=limits.record_bytes,
        ),
        policy=Policy(
            send=notices.send,
            channels=notices.channels,
            quiet=notices.quiet_hours,
            per_day=notices.per_day,
            stale_ms=notices.stale_after,
            min_probability=notices.min_probability,
            default_language=notices.language,
            default_time_zone=notices.time_zone,
            hold_in_contact_ms=notices.hold_in_contact,
            approval=notices.approval,
            per_case=notices.per_case,
            follow_up_ms=notices.follow_up,
            holdout_share=notices.holdout,
            holdout_ms=notices.holdout_for,
        ),
    )
