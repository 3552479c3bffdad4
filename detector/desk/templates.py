"""The words customers get, per kind and language: data for `detector/desk/wording.py`, kept apart to read as a page.

Four sentences at most: what happened to you and when; that it is on our side (and what may be promised); what you can
do now; when we write next. Plain words, no blame, no apology twice. Every placeholder is data, already cleaned and
cut: `name` may be empty; `what` may be (then the `title` stands in); `failed` says that the thing did not happen,
rather than badly.
"""

from detector.desk.records import Kind

LANGUAGES = ("en", "id")

GREETING = {
    "en": "Hi{% if name %} {{ name }}{% endif %}, ",
    "id": "Halo{% if name %} {{ name }}{% endif %}, ",
}

SUBJECT: dict[tuple[Kind, str], str] = {
    (Kind.PROBLEM, "en"): "{% if what %}Your {{ what }}{% else %}{{ title }}{% endif %}: a fault on our side",
    (Kind.PROBLEM, "id"): "{% if what %}{{ what }} Anda{% else %}{{ title }}{% endif %}: gangguan di sisi kami",
    (Kind.RESOLVED, "en"): "{% if what %}Your {{ what }}{% else %}{{ title }}{% endif %}: back to normal",
    (Kind.RESOLVED, "id"): "{% if what %}{{ what }} Anda{% else %}{{ title }}{% endif %}: sudah normal kembali",
    (Kind.CORRECTION, "en"): "{% if what %}Your {{ what }}{% else %}{{ title }}{% endif %}: a correction",
    (Kind.CORRECTION, "id"): "{% if what %}{{ what }} Anda{% else %}{{ title }}{% endif %}: ralat",
    (Kind.FOLLOW_UP, "en"): "{% if what %}Your {{ what }}{% else %}{{ title }}{% endif %}: we are still working on it",
    (Kind.FOLLOW_UP, "id"): "{% if what %}{{ what }} Anda{% else %}{{ title }}{% endif %}: masih kami tangani",
    (Kind.TRY_AGAIN, "en"): "{% if what %}Your {{ what }}{% else %}{{ title }}{% endif %}: you can try again",
    (Kind.TRY_AGAIN, "id"): "{% if what %}{{ what }} Anda{% else %}{{ title }}{% endif %}: sudah bisa dicoba lagi",
}

BODY: dict[tuple[Kind, str], str] = {
    (Kind.PROBLEM, "en"): (
        "{% if what %}your {{ what }} at {{ when }} "
        "{% if failed %}did not go through{% else %}did not work as it should{% endif %}."
        "{% else %}something did not work for you at {{ when }} ({{ title }}).{% endif %}"
        " The fault is on our side{% if promise %}; {{ promise }}{% endif %}."
        "{% if workaround %} {{ workaround }}{% endif %}"
        " We will write when it works again."
    ),
    (Kind.PROBLEM, "id"): (
        "{% if what %}{{ what }} Anda {{ when }} "
        "{% if failed %}belum berhasil{% else %}tidak berjalan semestinya{% endif %}."
        "{% else %}ada yang tidak berjalan semestinya untuk Anda {{ when }} ({{ title }}).{% endif %}"
        " Gangguannya ada di sisi kami{% if promise %}; {{ promise }}{% endif %}."
        "{% if workaround %} {{ workaround }}{% endif %}"
        " Kami kabari begitu kembali normal."
    ),
    (Kind.RESOLVED, "en"): (
        "{% if what %}your {{ what }} works again: it went through at {{ when }}."
        "{% else %}the fault that we wrote to you about ({{ title }}) is over: "
        "it worked for you at {{ when }}.{% endif %}"
        " Thank you for your patience."
    ),
    (Kind.RESOLVED, "id"): (
        "{% if what %}{{ what }} sudah normal kembali, dan {{ what }} Anda {{ when }} berhasil."
        "{% else %}gangguan yang kami kabarkan ({{ title }}) sudah berakhir, "
        "dan Anda sudah berhasil {{ when }}.{% endif %}"
        " Terima kasih atas kesabaran Anda."
    ),
    (Kind.CORRECTION, "en"): (
        "we wrote to you about {% if what %}your {{ what }}{% else %}a fault ({{ title }}){% endif %} at {{ when }}."
        " On a closer look that was not part of a fault on our side. We are sorry for the confusion."
    ),
    (Kind.CORRECTION, "id"): (
        "kami sebelumnya mengabari Anda tentang "
        "{% if what %}{{ what }} Anda{% else %}gangguan ({{ title }}){% endif %} {{ when }}."
        " Setelah diperiksa kembali, itu bukan bagian dari gangguan di sisi kami. Mohon maaf atas kekeliruan ini."
    ),
    (Kind.FOLLOW_UP, "en"): (
        "{% if what %}your {{ what }} at {{ when }} "
        "{% if failed %}did not go through either{% else %}did not work as it should either{% endif %}."
        "{% else %}what we wrote to you about ({{ title }}) still did not work for you at {{ when }}.{% endif %}"
        " We are still working on it{% if promise %}; {{ promise }}{% endif %}."
        "{% if workaround %} {{ workaround }}{% endif %}"
        " We will write when it works again."
    ),
    (Kind.FOLLOW_UP, "id"): (
        "{% if what %}{{ what }} Anda {{ when }} "
        "{% if failed %}juga belum berhasil{% else %}juga belum berjalan semestinya{% endif %}."
        "{% else %}gangguan yang kami kabarkan ({{ title }}) masih Anda alami {{ when }}.{% endif %}"
        " Kami masih menanganinya{% if promise %}; {{ promise }}{% endif %}."
        "{% if workaround %} {{ workaround }}{% endif %}"
        " Kami kabari begitu kembali normal."
    ),
    (Kind.TRY_AGAIN, "en"): (
        "the fault on our side {% if what %}that hit your {{ what }} at {{ when }}"
        "{% else %}that you met at {{ when }} ({{ title }}){% endif %} has been fixed."
        " You can try again. Thank you for your patience."
    ),
    (Kind.TRY_AGAIN, "id"): (
        "gangguan di sisi kami {% if what %}pada {{ what }} Anda {{ when }}"
        "{% else %}yang Anda alami {{ when }} ({{ title }}){% endif %} sudah teratasi."
        " Anda sudah bisa mencoba lagi. Terima kasih atas kesabaran Anda."
    ),
}
