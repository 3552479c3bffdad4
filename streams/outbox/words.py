"""What goes to a channel: the built-in words, with the texts of the templates folder laid over them.

Promises: the recipient and their name come from the directory; what is said is made of the notice, its signal's
configuration and the templates only; the same notice gives the same message, however often it is made.
"""

from detector.desk.records import Notice
from detector.desk.wording import facts_of, own_words, values_of, words
from detector.signals import Signal
from streams.outbox.channel import Outgoing
from streams.outbox.provider_template import ProviderTemplate
from streams.outbox.templates import NO_TEMPLATES, Templates, length_limit, read_templates
from streams.outbox.unsubscribe import Links
from streams.settings import Settings
from streams.store.directory import Customer


class Words:
    """Makes the messages of one tenant.

    Parameters
    ----------
    templates
        The user's own texts.
    links
        Makes the links for withdrawing consent; None: there are none.
    """

    def __init__(self, templates: Templates = NO_TEMPLATES, links: Links | None = None) -> None:
        self._templates, self._links = templates, links

    def outgoing(self, notice: Notice, signal: Signal, customer: Customer, channel: str) -> Outgoing:
        """Return the message of a notice for this channel; its address is "" where they do not consent to it."""
        facts = facts_of(notice, signal)
        url = self._links.url(notice.customer, channel) if self._links else ""
        message = words(facts, customer.name, notice.language)
        values = {**values_of(facts, customer.name, notice.language), "unsubscribe_url": url}
        language, template, parameters = notice.language, "", dict[str, str]()
        own = self._templates.find(signal.name, channel, notice.kind, notice.language)
        if isinstance(own, ProviderTemplate):
            parameters = own.fill(values)
            message = type(message)(message.subject, own.shown(parameters))
            language, template = own.language or language, own.template
        elif own is not None:
            said = own_words(values, own.subject, own.body, length_limit(channel))
            message = type(message)(said.subject or message.subject, said.body)
        return Outgoing(
            notice=notice.id,
            case=notice.case,
            kind=notice.kind.value,
            address=customer.address(channel),
            language=language,
            message=message,
            signal=signal.name,
            name=values["name"],
            template=template,
            parameters=parameters,
            unsubscribe_url=url,
        )


def load_words(settings: Settings, customer_key: bytes | None = None) -> Words:
    """Return the words of a configuration.

    Parameters
    ----------
    settings
    customer_key : bytes, optional
        The store's (`Store.customer_key`): signs the links for withdrawing consent; without it there are none.

    Raises
    ------
    ConfigError
        The templates folder has mistakes: all of them at once.
    """
    links = None
    if customer_key is not None and settings.service.public_url:
        links = Links(customer_key, settings.config.tenant, settings.service.public_url)
    return Words(read_templates(settings).checked(), links)
