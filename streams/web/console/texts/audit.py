"""What the audit page says."""

TEXTS: dict[str, tuple[str, str]] = {
    "audit": ("Audit", "Audit"),
    "audit.says": (
        "Who did what, newest first. Rows are only ever added, and each carries the hash of the one before it. "
        "Customers stand as hashes.",
        "Siapa melakukan apa, terbaru dulu. Baris hanya ditambahkan, dan masing-masing memuat hash baris sebelumnya. "
        "Pelanggan tertulis sebagai hash.",
    ),
    "audit.who": ("Who", "Siapa"),
    "audit.what": ("What", "Apa"),
    "audit.target": ("To what", "Terhadap apa"),
    "audit.since": ("From day", "Dari hari"),
    "audit.until": ("To day", "Sampai hari"),
    "audit.at": ("When", "Kapan"),
    "audit.detail": ("More", "Keterangan"),
    "audit.csv": ("Download CSV", "Unduh CSV"),
    "audit.verify": ("Check that nothing was changed", "Periksa keutuhannya"),
    "audit.ok": (
        "All {n} rows follow from one another: nothing was changed, taken out or put in. Keep the head elsewhere to "
        "see whether rows at the end were cut off:",
        "Semua {n} baris saling bersambung: tidak ada yang diubah, dicabut, atau disisipkan. Simpan kepala rantai ini "
        "di tempat lain untuk tahu apakah baris terakhir dipotong:",
    ),
    "audit.broken": (
        "Row {seq} does not follow from the one before it: it was changed, or one was taken out or put in. The {n} "
        "rows before it are whole.",
        "Baris {seq} tidak bersambung dengan yang sebelumnya: ada yang diubah, dicabut, atau disisipkan. {n} baris "
        "sebelumnya utuh.",
    ),
    "audit.empty": ("No row is like that.", "Tidak ada baris seperti itu."),
    "audit.none": ("Nobody has done anything yet.", "Belum ada yang dilakukan."),
}
