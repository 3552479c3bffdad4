"""The files beside the events: the customer directory and a configuration that watches this shop. Pure text."""

import csv
import io

from models.simulate.sizes import Size, time_zone
from models.simulate.words import EMAIL_DOMAINS, FAMILY_NAMES, GIVEN_NAMES
from models.simulate.world import LATENCY_LIMIT_MS, Customers


class People:
    """Names and addresses of the customers, all invented, by index."""

    def __init__(self, customers: Customers, size: Size) -> None:
        self._customers = customers
        self._zones = [time_zone(city) for city in size.cities.names]
        width = len(str(customers.count))
        self.ids = [f"c{i:0{width}d}" for i in range(1, customers.count + 1)]
        # No subscriber's number begins with 00 after the operator's prefix.
        self.phones = [f"+6281100{i:06d}" for i in range(1, customers.count + 1)]
        missing = customers.missing.tolist()
        self.aliases = ["" if m else phone for m, phone in zip(missing, self.phones, strict=True)]
        """Phone numbers by which a contact may name the customer; "" where the directory would not know it."""

    def csv(self) -> str:
        """customers.csv: a row per customer of the directory."""
        people = self._customers
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("id", "name", "language", "time_zone", "email", "phone", "consent", "login"))
        columns = zip(
            people.missing.tolist(),
            people.given.tolist(),
            people.family.tolist(),
            people.english.tolist(),
            people.city.tolist(),
            people.whatsapp.tolist(),
            people.email.tolist(),
            strict=True,
        )
        for i, (missing, given, family, english, city, whatsapp, email) in enumerate(columns):
            if missing:
                continue
            first, second = GIVEN_NAMES[given % len(GIVEN_NAMES)], FAMILY_NAMES[family % len(FAMILY_NAMES)]
            login = f"{first}.{second}{i + 1}".lower()
            consent = ";".join(c for c, yes in (("whatsapp", whatsapp), ("email", email)) if yes)
            address = f"{login}@{EMAIL_DOMAINS[i % len(EMAIL_DOMAINS)]}"
            language = "en" if english else "id"
            writer.writerow(
                (self.ids[i], f"{first} {second}", language, self._zones[city], address, self.phones[i], consent, login)
            )
        return out.getvalue()


def signals_yml(size: Size) -> str:
    """signals.yml: one signal per kind of event; those that planted problems touch are live."""
    text = _SIGNALS.replace("LIMIT_MS", str(LATENCY_LIMIT_MS))
    for signal, dimensions in size.watched.items():
        text = text.replace(f"<{signal}>", ", ".join(dimensions))
    return text


def tocsin_yml() -> str:
    """tocsin.yml: the defaults, which suit this traffic."""
    return _TOCSIN


_TOCSIN = """\
# Made by `tocsin simulate`. What is not said here has its default.
budget: 1 false case per week
customers: customers.csv
"""

_SIGNALS = """\
# Made by `tocsin simulate`: what is watched in the simulated shop.
signals:

  login-failures:
    title: {en: Logins fail, id: Gagal masuk}
    what: {en: login, id: login}
    events: {kind: login}
    bad: {outcome: failure}
    measure: share
    dimensions: [<login-failures>]
    window: 1m
    severity: high
    mode: live
    workaround:
      en: For now you can log in on our website.
      id: Sementara ini Anda bisa masuk lewat situs web kami.

  payment-declines:
    title: {en: Payments are declined, id: Pembayaran ditolak}
    what: {en: payment, id: pembayaran}
    events: {kind: payment}
    bad: {outcome: declined}
    loss: amount
    loss_unit: IDR
    measure: share
    dimensions: [<payment-declines>]
    window: 1m
    severity: high
    mode: live
    workaround:
      en: For now you can pay from another bank or by e-wallet.
      id: Sementara ini Anda bisa membayar dengan bank lain atau dompet digital.
    promise:
      en: no money was taken for the failed payment
      id: pembayaran yang gagal tidak memotong saldo Anda

  checkout-silence:
    title: {en: Checkouts have stopped, id: Checkout berhenti}
    what: {en: checkout, id: checkout}
    events: {kind: checkout}
    measure: count
    direction: down
    dimensions: [<checkout-silence>]
    window: 1m
    severity: critical
    mode: live

  api-latency:
    title: {en: The app answers slowly, id: Aplikasi lambat}
    what: {en: request, id: permintaan}
    events: {kind: api}
    measure: value
    value: latency_ms
    bad_above: LIMIT_MS
    dimensions: [<api-latency>]
    window: 1m
    severity: medium
    mode: live

  complaints:
    title: {en: More complaints than usual, id: Keluhan meningkat}
    events: {kind: contact}
    measure: count
    direction: up
    dimensions: [topic]
    window: 5m
    severity: low
    mode: shadow
"""
