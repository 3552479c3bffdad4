"""The words of the simulated world: people's names, and what they write when they contact us.

All of it is invented; e-mail addresses end in domains reserved for examples.
"""

GIVEN_NAMES = (
    *("Adi", "Agus", "Ahmad", "Aisyah", "Amelia", "Andi", "Anisa", "Arief", "Asep", "Ayu", "Bagus", "Bambang", "Bayu"),
    *("Bella", "Budi", "Cahya", "Citra", "Dani", "Dedi", "Dewi", "Dian", "Dimas", "Dina", "Eka", "Eko", "Endang"),
    *("Fajar", "Farah", "Fitri", "Galih", "Gita", "Hadi", "Hana", "Hendra", "Ika", "Ilham", "Indah", "Intan", "Irfan"),
    *("Joko", "Kartika", "Kevin", "Laras", "Lestari", "Lia", "Lukman", "Made", "Maya", "Mega", "Nadia", "Nanda"),
    *("Novi", "Nur", "Oki", "Putri", "Putu", "Rahma", "Rama", "Rangga", "Ratna", "Reza", "Rina", "Rini", "Rizky"),
    *("Sari", "Satria", "Sinta", "Siti", "Slamet", "Sri", "Tari", "Taufik", "Tika", "Tono", "Umar", "Vina", "Wahyu"),
    *("Wati", "Wawan", "Wulan", "Yanti", "Yoga", "Yuli", "Yusuf", "Zahra", "Zainal"),
)

FAMILY_NAMES = (
    *("Aditya", "Anggraini", "Firmansyah", "Gunawan", "Halim", "Handayani", "Hidayat", "Irawan", "Kurniawan"),
    *("Kusuma", "Lubis", "Maharani", "Maulana", "Nasution", "Nugroho", "Permana", "Permata", "Pradana", "Prasetyo"),
    *("Pratama", "Purnama", "Putra", "Rahayu", "Ramadhan", "Saputra", "Setiawan", "Siregar", "Suharto", "Sulistyo"),
    *("Suryani", "Susanti", "Syahputra", "Utami", "Wibowo", "Widodo", "Wijaya", "Wirawan", "Yulianto"),
)

EMAIL_DOMAINS = ("example.com", "example.net", "example.org")

TOPICS = ("login", "payment", "checkout", "app_slow", "delivery", "refund", "promo", "account")

TOPIC_OF = {"login": "login", "payment": "payment", "checkout": "checkout", "api": "app_slow"}
"""What a customer contacts us about when an attempt of this kind failed."""

BACKGROUND_WEIGHTS = (0.06, 0.10, 0.06, 0.04, 0.34, 0.18, 0.12, 0.10)
"""How often each topic comes up on an ordinary day."""

TEXTS: dict[str, dict[str, tuple[str, ...]]] = {
    "login": {
        "id": (
            "Halo, saya tidak bisa masuk ke aplikasi, kode OTP selalu ditolak",
            "Min kok gagal login terus ya dari tadi",
            "Kode verifikasi sudah benar tapi tetap tidak bisa masuk",
            "Sudah coba berkali-kali login tetap gagal, tolong dibantu",
        ),
        "en": ("I can't log in, the code is always rejected", "Login keeps failing on my phone, please help"),
    },
    "payment": {
        "id": (
            "Pembayaran saya ditolak terus padahal saldo cukup",
            "Kartu saya tidak bisa dipakai bayar, kenapa ya?",
            "Sudah tiga kali bayar gagal, apakah uang saya terpotong?",
            "Transaksi gagal terus, mohon dicek",
        ),
        "en": ("My payment was declined although there is enough money", "Paying does not work, was I charged?"),
    },
    "checkout": {
        "id": (
            "Tombol checkout tidak bisa ditekan",
            "Keranjang saya macet, tidak bisa lanjut ke pembayaran",
            "Mau checkout tapi halamannya kosong",
        ),
        "en": ("The checkout button does nothing", "I can't get past the basket page"),
    },
    "app_slow": {
        "id": (
            "Aplikasinya lambat sekali hari ini",
            "Loading terus tidak selesai-selesai",
            "Kenapa halamannya lama sekali dibuka?",
        ),
        "en": ("The app is very slow today", "Pages take forever to load"),
    },
    "delivery": {
        "id": ("Pesanan saya sampai mana ya?", "Paket belum datang sudah tiga hari", "Kurir tidak bisa dihubungi"),
        "en": ("Where is my parcel?", "My order is late"),
    },
    "refund": {
        "id": ("Kapan dana saya dikembalikan?", "Saya mau ajukan pengembalian barang"),
        "en": ("When do I get my refund?", "I would like to return an item"),
    },
    "promo": {
        "id": ("Voucher saya tidak bisa dipakai", "Apakah promo gratis ongkir masih ada?"),
        "en": ("My voucher does not work", "Is free shipping still on?"),
    },
    "account": {
        "id": ("Bagaimana cara ganti nomor HP?", "Saya mau ubah alamat pengiriman"),
        "en": ("How do I change my phone number?", "How do I change my address?"),
    },
}

CHANNELS = ("chat", "call", "ticket")
CHANNEL_WEIGHTS = (0.75, 0.15, 0.10)
BY_PHONE_SHARE = {"chat": 0.08, "call": 0.7, "ticket": 0.05}
"""How often a contact names the customer by phone number instead of id, by channel."""
