"""What the sending page says."""

TEXTS: dict[str, tuple[str, str]] = {
    "sending": ("Sending", "Pengiriman"),
    # --- the answer first
    "sending.fine": ("Nothing is stuck.", "Tidak ada yang tersendat."),
    "sending.recording": (
        "A recording: notices were decided on, none is sent.",
        "Sebuah rekaman: pemberitahuan diputuskan, tidak ada yang dikirim.",
    ),
    "sending.dry": ("Dry run: notices are made, none is sent.", "Uji coba: pemberitahuan dibuat, tidak dikirim."),
    "sending.killed": ("The kill switch is on: nothing goes out.", "Sakelar darurat menyala: tidak ada yang keluar."),
    "sending.silent": (
        "The process that sends has not been heard of since {at}: nothing goes out.",
        "Proses pengirim tidak terdengar sejak {at}: tidak ada yang keluar.",
    ),
    "sending.never": (
        "No process that sends has been heard of: nothing goes out. `tocsin run` starts one, or `tocsin notifier`.",
        "Belum ada proses pengirim: tidak ada yang keluar. `tocsin run` menjalankannya, atau `tocsin notifier`.",
    ),
    "sending.error": ("The process that sends waits: {error}", "Proses pengirim menunggu: {error}"),
    "sending.down": ("Nothing gets through by {channel}.", "Tidak ada yang tembus lewat {channel}."),
    "sending.stopped": (
        "{channel} is stopped: {reason}. A person has to resume it.",
        "{channel} dihentikan: {reason}. Perlu dilanjutkan oleh orang.",
    ),
    "sending.bound": ("A limit is reached: {limit}.", "Sebuah batas tercapai: {limit}."),
    "sending.to_decide": (
        "{n} may have gone out; a person decides on it.|{n} may have gone out; a person decides on each.",
        "{n} mungkin sudah terkirim; perlu diputuskan satu per satu.",
    ),
    "sending.now": (
        "{waiting} wait to be sent, {under_way} are on their way, {went} went out in the last hour, {held} are held.",
        "{waiting} menunggu dikirim, {under_way} sedang dikirim, {went} keluar dalam satu jam terakhir, "
        "{held} ditahan.",
    ),
    # --- the kill switch
    "switch.stop": ("Stop all sending…", "Hentikan semua pengiriman…"),
    "switch.go": ("Let sending go on…", "Lanjutkan pengiriman…"),
    "switch.stop.title": ("Stop all sending", "Hentikan semua pengiriman"),
    "switch.go.title": ("Let sending go on", "Lanjutkan pengiriman"),
    "switch.stop.says": (
        "Within a second nothing more goes out to anybody, on any channel.",
        "Dalam satu detik tidak ada lagi yang keluar ke siapa pun, di kanal mana pun.",
    ),
    "switch.stop.waits": (
        "{n} that waits stays where it is{by}.|{n} that wait stay where they are{by}.",
        "{n} yang menunggu tetap di tempatnya{by}.",
    ),
    "switch.stop.under_way": (
        "{n} is on its way already and may still arrive.|{n} are on their way already and may still arrive.",
        "{n} sudah dalam perjalanan dan mungkin masih sampai.",
    ),
    "switch.stop.later": (
        "Cases go on, and decide on further notices; these wait as well.",
        "Kasus tetap berjalan dan memutuskan pemberitahuan baru; semuanya ikut menunggu.",
    ),
    "switch.stale": (
        "{n} of them becomes too old within the hour, and is then not sent any more.|"
        "{n} of them become too old within the hour, and are then not sent any more.",
        "{n} di antaranya menjadi basi dalam satu jam, lalu tidak dikirim lagi.",
    ),
    "switch.go.says": (
        "{n} that waits may go from now on{by}; it is asked once more whether it still may.|"
        "{n} that wait may go from now on{by}; of each it is asked once more whether it still may.",
        "{n} yang menunggu boleh berangkat mulai sekarang{by}; masing-masing ditanya sekali lagi apakah masih boleh.",
    ),
    "switch.go.none": ("Nothing waits at the moment.", "Saat ini tidak ada yang menunggu."),
    "switch.reason": ("Why (everybody sees it)", "Alasan (dilihat semua orang)"),
    "switch.stop.do": ("Stop all sending", "Hentikan semua pengiriman"),
    "switch.go.do": ("Let sending go on", "Lanjutkan pengiriman"),
    "switch.cancel": ("Leave it as it is", "Biarkan saja"),
    "switch.on_since": ("On since {at}, by {who}", "Menyala sejak {at}, oleh {who}"),
    "switch.conflict": (
        "Nothing was done: meanwhile {who} has turned the kill switch {how}. This is how it stands now.",
        "Tidak ada yang diubah: sementara itu {who} sudah {how} sakelar darurat. Beginilah keadaannya sekarang.",
    ),
    "switch.how.on": ("on", "menyalakan"),
    "switch.how.off": ("off", "mematikan"),
    "switch.somebody": ("somebody", "seseorang"),
    "switch.no_reason": (
        "Say why: the others want to know.",
        "Tulis alasannya: yang lain perlu tahu.",
    ),
    "said.switch.on": ("Sending is stopped.", "Pengiriman dihentikan."),
    "said.switch.off": ("Sending goes on.", "Pengiriman dilanjutkan."),
    # --- channels
    "sending.channels": ("Channels", "Kanal"),
    "sending.channel": ("Channel", "Kanal"),
    "sending.circuit": ("State", "Keadaan"),
    "sending.waiting": ("Waiting", "Menunggu"),
    "sending.under_way": ("On its way", "Sedang dikirim"),
    "sending.unknown": ("To decide", "Perlu diputuskan"),
    "sending.hour": ("Out in 1 h", "Keluar 1 jam"),
    "sending.failed_day": ("Failed tries in 24 h", "Percobaan gagal 24 jam"),
    "sending.later": ("{n} tried again, next {at}", "{n} dicoba lagi, berikutnya {at}"),
    "sending.since": ("oldest due since {at}", "tertua sejak {at}"),
    "sending.not_used": ("no longer in the configuration", "tidak ada lagi di konfigurasi"),
    "circuit.closed": ("works", "berjalan"),
    "circuit.open": ("down; tried again soon", "putus; segera dicoba lagi"),
    "circuit.half-open": ("down; being tried", "putus; sedang dicoba"),
    "circuit.stopped": ("stopped", "dihentikan"),
    "circuit.unknown": ("not known", "belum diketahui"),
    "sending.resume.for": ("Resume {channel}…", "Lanjutkan {channel}…"),
    "sending.resume.title": ("Resume {channel}", "Lanjutkan {channel}"),
    "sending.resume.says": (
        "The other side refused us: {reason}. If that is put right, {channel} is tried again within some seconds: "
        "{n} waits for it.|The other side refused us: {reason}. If that is put right, {channel} is tried again within "
        "some seconds: {n} wait for it.",
        "Pihak sana menolak kita: {reason}. Jika sudah dibereskan, {channel} dicoba lagi dalam beberapa detik: "
        "{n} menunggu.",
    ),
    "sending.resume.do": ("Try {channel} again", "Coba {channel} lagi"),
    "sending.resume.conflict": (
        "Nothing was done: {channel} is not stopped any more.",
        "Tidak ada yang diubah: {channel} sudah tidak dihentikan.",
    ),
    "said.resumed": ("It is tried again within some seconds.", "Dicoba lagi dalam beberapa detik."),
    # --- what waits and why
    "sending.held": ("Held, and why", "Ditahan, dan alasannya"),
    "sending.reason": ("Reason", "Alasan"),
    "sending.people": ("Notices", "Pemberitahuan"),
    "sending.until": ("Looked at again", "Ditinjau lagi"),
    "sending.until.person": ("when a person approves", "saat disetujui orang"),
    "sending.held.none": ("Nothing is held.", "Tidak ada yang ditahan."),
    "sending.failures": ("What did not get through, in 24 hours", "Yang tidak tembus, 24 jam terakhir"),
    "sending.failures.none": ("Every try got through.", "Semua percobaan tembus."),
    "sending.failures.no_try": ("Nothing was tried.", "Belum ada yang dicoba."),
    "sending.outcome": ("What came of it", "Hasilnya"),
    "sending.tries": ("Tries", "Percobaan"),
    "outcome.sent": ("sent", "terkirim"),
    "outcome.simulated": ("made, not sent (dry run)", "dibuat, tidak dikirim (uji coba)"),
    "outcome.failed": ("given up", "menyerah"),
    "outcome.again": ("tried again later", "dicoba lagi nanti"),
    "outcome.unknown": ("may have gone out", "mungkin terkirim"),
    "sending.caps": ("Limits", "Batas"),
    "sending.cap": ("Limit", "Batas"),
    "sending.used": ("Used", "Terpakai"),
    "sending.of": ("{used} of {most}", "{used} dari {most}"),
    "sending.binds": ("reached: the most valuable go first", "tercapai: yang terpenting lebih dulu"),
    "cap.hour": ("Notices in any hour", "Pemberitahuan per jam"),
    "cap.signal": ("in any hour, of one signal", "per jam, satu sinyal"),
    "cap.signal.of": ("in any hour, of {name}", "per jam, dari {name}"),
    "cap.tier.of": ("customers in 24 h, {name}", "pelanggan dalam 24 jam, {name}"),
    "cap.rate.of": ("a second, {name}", "per detik, {name}"),
    # --- what a person decides on
    "sending.decide": ("To decide: may have gone out", "Perlu diputuskan: mungkin sudah terkirim"),
    "sending.decide.says": (
        "The connection broke or the service stopped while these were handed over. Look with the provider, then say "
        "what is true. “Send again” may tell somebody twice.",
        "Koneksi putus atau layanan berhenti saat pesan ini diserahkan. Periksa di penyedia, lalu pilih yang benar. "
        "“Kirim lagi” bisa membuat orang menerima dua kali. Keterangan di sampingnya adalah alasan pesan tidak dikirim "
        "ulang dengan sendirinya.",
    ),
    "settle.sent": ("It arrived", "Sudah sampai"),
    "settle.failed": ("It did not; leave it", "Tidak sampai; biarkan"),
    "settle.resend": ("Send again", "Kirim lagi"),
    "settle.for": ("{how}: {customer}", "{how}: {customer}"),
    "settle.conflict": (
        "Nothing was done: this one was decided on already. {who} said: {how}.",
        "Tidak ada yang diubah: ini sudah diputuskan. {who}: {how}.",
    ),
    "settle.conflict.other": (
        "Nothing was done: this one is no longer to be decided on.",
        "Tidak ada yang diubah: ini tidak perlu diputuskan lagi.",
    ),
    "said.settled.sent": ("Taken as sent.", "Dianggap terkirim."),
    "said.settled.failed": ("Taken as not sent.", "Dianggap tidak terkirim."),
    "said.settled.resend": ("It is sent again.", "Dikirim lagi."),
    # --- lists
    "sending.list": ("Notices in the queue", "Pemberitahuan di antrean"),
    "sending.list.held": ("Held notices", "Pemberitahuan yang ditahan"),
    "sending.list.state": ("State", "Keadaan"),
    "sending.list.any": ("all", "semua"),
    "sending.list.empty": ("There is none of this kind.", "Tidak ada yang seperti ini."),
    "sending.customer": ("Customer", "Pelanggan"),
    "sending.kind": ("Says", "Isi"),
    "sending.due": ("Due", "Jatuh tempo"),
    "sending.stale": ("Not after", "Paling lambat"),
    "sending.attempts": ("Tries", "Percobaan"),
    "sending.last": ("Last try", "Percobaan terakhir"),
    "sending.decided": ("Decided", "Diputuskan"),
    "sending.back": ("Back to sending", "Kembali ke pengiriman"),
    "sending.csv": ("Download CSV", "Unduh CSV"),
    "outbox.waiting": ("waiting", "menunggu"),
    "outbox.claimed": ("on its way", "sedang dikirim"),
    "outbox.unknown": ("may have gone out", "mungkin terkirim"),
    "outbox.failed": ("failed", "gagal"),
    "outbox.sent": ("sent", "terkirim"),
    "outbox.suppressed": ("stopped before sending", "dihentikan sebelum dikirim"),
}
