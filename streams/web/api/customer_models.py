"""A customer as the API takes and shows them."""

from typing import Annotated

from pydantic import Field

from detector.desk.records import CustomerState, Grade
from streams.web.api.kinds import Amount, AmountGiven, Given, Id, Line, Shown, Time, described
from streams.web.api.models import CaseShown, WhyCustomer

SHOWN_CASES = 20
SHOWN_ROWS = 1_000
"""So many rows that were not taken are listed."""

_CONSENT = "Channels that they agree to; `all`, or none."
Consent = Annotated[list[Id], Field(max_length=20, description=_CONSENT, examples=[["email"]])]


class CustomerShown(Shown):
    id: str
    name: str
    language: str
    time_zone: str
    email: str = described("Masked for those who may only read.")
    phone: str = described("Masked for those who may only read.")
    consent: list[str]
    withdrawn: list[str] = described("Channels that they want nothing on, whatever `consent` says.")
    tier: str | None = described("Such as gold; null: not known.")
    contract_value: Amount | None = described("What they are worth to you; null: not known.")
    known: bool = described("false: seen failing, and in no directory.")


class HitShown(Shown):
    """A case that lists the customer, and what was decided to tell them of it."""

    case: CaseShown
    grade: Grade
    state: CustomerState
    first_failure: Time
    last_failure: Time
    tries: int
    last_success: Time | None
    contact: Time | None
    loss: Amount | None = described("The largest of their failed tries, in the case's unit; null: not known.")
    withdrawn: bool = described("Listed once, and not any more.")
    why: WhyCustomer


class CustomerInFull(CustomerShown):
    cases: list[HitShown] = described(f"The {SHOWN_CASES} opened last.")


class CustomerGiven(Given):
    """A customer as an import has them; it takes the place of what is there."""

    name: Line = ""
    language: Line = described("Such as id or en.", default="")
    time_zone: Line = described("Such as Asia/Jakarta.", default="")
    email: Line = ""
    phone: Line = ""
    consent: Consent = Field(default=[])
    tier: Line = described("Such as gold.", default="")
    contract_value: AmountGiven | None = described("What they are worth to you, a year say.", default=None)
    aliases: list[Id] = Field(default=[], max_length=50, description="Further names by which events call them.")


class CustomerTaken(CustomerShown):
    remarks: list[str] = described("Aliases that another customer has, too: they name neither.")


class Preferences(Given):
    """What is given is set; the rest stays."""

    consent: Consent | None = None
    language: Line | None = None
    time_zone: Line | None = None


class Erasing(Given):
    customer: Id = described("Their id, or an alias.")


class Removed(Shown):
    customers: int = described("Rows of the directory.")
    aliases: int
    dead_letters: int = described("Refused records that named them; their bytes are gone.")
    remarks: int = described("Texts of people that named them; the name is gone.")


class Remains(Shown):
    cases: int = described("Cases that list a hash, which names nobody any more.")
    notices: int = described("Notices that hold that hash.")
    intake_rows: int = described("Accepted blocks of events not worked off yet, each deleted once it is.")
    copies: list[str] = described("Copies of the store that an upgrade left beside it. Remove them.")
    backups: str


class Erased(Shown):
    """What was removed, and what is left."""

    removed: Removed
    remains: Remains


class RejectedRow(Shown):
    line: int
    column: str
    allowed: str


class Imported(Shown):
    imported: int
    rejected: list[RejectedRow] = described(f"The first {SHOWN_ROWS:,} rows that were not taken, or not whole.")
    more: int = described("So many more.")
