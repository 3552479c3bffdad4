"""What the inbox says."""

TEXTS: dict[str, tuple[str, str]] = {
    "inbox": ("Inbox", "Kotak masuk"),
    "inbox.severity": ("Severity", "Tingkat"),
    "inbox.case": ("What is wrong", "Apa yang salah"),
}
