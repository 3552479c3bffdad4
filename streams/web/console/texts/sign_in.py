"""What the sign-in pages say."""

TEXTS: dict[str, tuple[str, str]] = {
    "sign_in": ("Sign in", "Masuk"),
    "sign_in.confirm": (
        "This link signs you in on this browser, once.",
        "Tautan ini memasukkan Anda di peramban ini, satu kali saja.",
    ),
    "sign_in.with_account": ("Sign in with your company account", "Masuk dengan akun perusahaan"),
    "sign_in.get_link": (
        "For a sign-in link, run this on the machine where Tocsin runs:",
        "Untuk mendapatkan tautan masuk, jalankan ini di mesin tempat Tocsin berjalan:",
    ),
    "sign_in.link_over": (
        "This link was used before or is too old. Ask for a new one.",
        "Tautan ini sudah dipakai atau kedaluwarsa. Mintalah yang baru.",
    ),
    "sign_in.no_role": (
        "Your account may not enter here. Ask whoever looks after Tocsin to give your group a role.",
        "Akun Anda tidak diizinkan masuk. Minta pengelola Tocsin memberi peran untuk grup Anda.",
    ),
    "sign_in.provider_failed": (
        "The sign-in did not work. Try again, or tell whoever looks after Tocsin.",
        "Gagal masuk. Coba lagi; jika tetap gagal, beri tahu pengelola Tocsin.",
    ),
    "sign_in.provider_away": (
        "The company account can't be reached at the moment. Try again in a minute.",
        "Akun perusahaan sedang tidak dapat dihubungi. Coba lagi sebentar lagi.",
    ),
    "sign_in.afterwards": (
        "Afterwards you go on to where you wanted to go.",
        "Setelah itu Anda dilanjutkan ke halaman yang dituju.",
    ),
    "sign_in.go_on": ("Go on", "Lanjut"),
}
