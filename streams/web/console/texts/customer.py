"""What a customer's page says."""

TEXTS: dict[str, tuple[str, str]] = {
    "customer": ("Customer", "Pelanggan"),
    # --- finding
    "customer.find": ("Find a customer", "Cari pelanggan"),
    "customer.find.label": ("Id or alias: a phone, an e-mail, a login", "ID atau alias: telepon, surel, nama login"),
    "customer.find.how": (
        "By their whole id, phone number, e-mail address, or another name that events call them by.",
        "Dengan ID lengkap, nomor telepon, alamat surel, atau nama lain yang dipakai kejadian.",
    ),
    "customer.unknown": ("Nobody is known as “{text}”.", "Tidak ada yang dikenal sebagai “{text}”."),
    "customer.unknown.why": (
        "They are not in the directory, and have not failed since it was kept. An alias that two customers share names "
        "neither.",
        "Tidak ada di direktori, dan belum pernah gagal sejak dicatat. Alias milik dua pelanggan tidak menunjuk siapa "
        "pun.",
    ),
    "customer.was_erased": (
        "Whoever “{text}” named was erased. What is left is a hash that names nobody.",
        "Pemilik “{text}” sudah dihapus. Yang tersisa hanya hash yang tidak menunjuk siapa pun.",
    ),
    # --- the answer first
    "customer.cases": ("Hit by {n} problem|Hit by {n} problems", "Terdampak {n} gangguan"),
    "customer.tries": ("failed {n} time|failed {n} times", "gagal {n} kali"),
    "customer.failing": ("still failing in {n}", "masih gagal di {n}"),
    "customer.not_failing": ("failing in none now", "kini tidak gagal lagi"),
    "customer.told": ("told of {n}", "diberi tahu tentang {n}"),
    "customer.told_none": ("never told", "tidak pernah diberi tahu"),
    "customer.shadow": (
        "{n} more by a signal in shadow, of which nobody is told.|"
        "{n} more by signals in shadow, of which nobody is told.",
        "{n} lagi dari sinyal bayangan, yang tidak dikabarkan ke siapa pun.",
    ),
    "customer.untold": ("not told of {n}", "tidak diberi tahu tentang {n}"),
    "customer.contacts": ("in touch about {n}", "menghubungi soal {n}"),
    "customer.no_cases": ("No problem has hit them.", "Tidak pernah terdampak gangguan."),
    "customer.no_cases.why": (
        "They were in no case since this store began. Failures that are part of the ordinary rate make no case.",
        "Tidak ada kasus yang memuatnya sejak penyimpanan ini dimulai. Kegagalan biasa tidak menjadi kasus.",
    ),
    "customer.not_known": (
        "Seen failing, but not in the directory: nobody can tell them anything.",
        "Terlihat gagal, tetapi tidak ada di direktori: tidak bisa diberi tahu.",
    ),
    # --- who they are
    "customer.who": ("Who they are", "Siapa"),
    "customer.name": ("Name", "Nama"),
    "customer.email": ("E-mail", "Surel"),
    "customer.phone": ("Phone", "Telepon"),
    "customer.tier": ("Tier", "Tingkat"),
    "customer.contract_value": ("Contract value", "Nilai kontrak"),
    "customer.language": ("Language", "Bahasa"),
    "customer.zone": ("Time zone", "Zona waktu"),
    "customer.zone.now": ("{zone}, {at} there now", "{zone}, kini {at} di sana"),
    "customer.masked": (
        "Addresses are masked: you may read. Acting takes another role.",
        "Alamat disamarkan: Anda boleh membaca. Untuk bertindak perlu peran lain.",
    ),
    "language.id": ("Bahasa Indonesia", "Bahasa Indonesia"),
    "language.en": ("English", "Inggris"),
    "customer.consent": ("May we write?", "Bolehkah kita menulis?"),
    "consent.ok": ("yes", "boleh"),
    "consent.withdrawn": ("no: they withdrew it", "tidak: persetujuan dicabut"),
    "consent.no-consent": ("no: they did not agree", "tidak: belum setuju"),
    "consent.no-address": ("no: agreed, but no address", "tidak: setuju, tetapi tanpa alamat"),
    "consent.unused": ("not used for notices", "tidak dipakai untuk pemberitahuan"),
    # --- their cases
    "customer.their_cases": ("What happened to them, and what we said", "Yang terjadi, dan yang kita sampaikan"),
    "customer.case": ("Problem", "Gangguan"),
    "customer.they": ("They", "Mereka"),
    "customer.failed": ("Failed", "Gagal"),
    "customer.success": ("Worked again", "Berhasil lagi"),
    "customer.contact": ("In touch", "Menghubungi"),
    "customer.said": ("Told, or why not", "Diberi tahu, atau mengapa tidak"),
    "customer.times": ("{n} time|{n} times", "{n} kali"),
    "customer.withdrawn": ("listed once, not any more", "pernah tercatat, sekarang tidak"),
    "customer.until": ("until {at}", "sampai {at}"),
    "customer.their_time": ("{at} for them", "{at} waktu mereka"),
    "reason.live-case-undecided": ("not decided yet", "belum diputuskan"),
    "reason.shadow-case-undecided": ("the signal is in shadow", "sinyal masih bayangan"),
    # --- the story
    "customer.story": ("The story", "Ceritanya"),
    "customer.story.of": ("In “{title}”", "Dalam “{title}”"),
    "customer.story.cut": (
        "Failures of the first two hours; later ones are in the sum above.",
        "Kegagalan dua jam pertama; sisanya termasuk dalam jumlah di atas.",
    ),
    "customer.story.open": ("Open the case", "Buka kasus"),
    "did.failed": ("failed", "gagal"),
    "did.succeeded": ("it worked", "berhasil"),
    "did.contact": ("got in touch", "menghubungi kita"),
    "did.contact.by": ("got in touch by {channel}", "menghubungi kita lewat {channel}"),
    "did.told": ("told ({kind}), by {channel}", "diberi tahu ({kind}), lewat {channel}"),
    "did.told.simulated": (
        "would have been told ({kind}), by {channel}; dry run",
        "akan diberi tahu ({kind}), lewat {channel}; uji coba",
    ),
    "did.queued": ("is being told ({kind}), by {channel}", "sedang diberi tahu ({kind}), lewat {channel}"),
    "did.held": ("held ({kind})", "ditahan ({kind})"),
    "did.dropped": ("not told ({kind})", "tidak diberi tahu ({kind})"),
    "did.failed-notice": ("could not be told ({kind})", "gagal diberi tahu ({kind})"),
    "did.delivery": ("{channel}: {outcome}", "{channel}: {outcome}"),
    # --- acting
    "customer.opt_out": ("Tell them nothing any more…", "Jangan kabari lagi…"),
    "customer.opt_out.title": ("Tell {who} nothing any more", "Jangan kabari {who} lagi"),
    "customer.opt_out.says": (
        "Withdraws their consent to every channel ({channels}). {n} notice that waits for them is not sent. No import "
        "brings the consent back; only they can, by saying so.|Withdraws their consent to every channel ({channels}). "
        "{n} notices that wait for them are not sent. No import brings the consent back; only they can, by saying so.",
        "Mencabut persetujuan untuk semua kanal ({channels}). {n} pemberitahuan yang menunggu tidak dikirim. Impor "
        "tidak mengembalikan persetujuan; hanya mereka sendiri yang bisa.",
    ),
    "customer.opt_out.do": ("Tell them nothing any more", "Jangan kabari lagi"),
    "customer.opted_out": ("They want to hear nothing from us.", "Mereka tidak ingin dikabari."),
    "said.opted_out": ("They are told nothing any more.", "Mereka tidak dikabari lagi."),
    "customer.erase": ("Erase…", "Hapus…"),
    "customer.erase.title": ("Erase {who}, for good", "Hapus {who}, selamanya"),
    "customer.erase.removes": ("Removed for good:", "Dihapus selamanya:"),
    "customer.erase.id": ("their id in the directory", "ID di direktori"),
    "customer.erase.name": ("their name", "nama"),
    "customer.erase.email": ("their e-mail address", "alamat surel"),
    "customer.erase.phone": ("their phone number", "nomor telepon"),
    "customer.erase.aliases": ("{n} alias|{n} aliases", "{n} alias"),
    "customer.erase.texts": (
        "their id and aliases in remarks of people and in refused records",
        "ID dan alias dalam catatan orang dan rekaman yang ditolak",
    ),
    "customer.erase.stays": (
        "What stays names nobody: {cases} and {notices} under a hash. Numbers of cases do not change. They are told "
        "nothing any more, and no later event or import brings them back. It can't be undone. Backups and files that "
        "were exported before still hold what they held.",
        "Yang tersisa tidak menunjuk siapa pun: {cases} dan {notices} dengan hash. Angka kasus tidak berubah. Mereka "
        "tidak dikabari lagi, dan tidak bisa muncul kembali lewat kejadian atau impor. Tidak dapat dibatalkan. "
        "Cadangan dan berkas yang diekspor sebelumnya tetap memuat isinya.",
    ),
    "customer.erase.cases": ("{n} case|{n} cases", "{n} kasus"),
    "customer.erase.notices": ("{n} notice|{n} notices", "{n} pemberitahuan"),
    "customer.erase.do": ("Erase them", "Hapus"),
    "said.erased": (
        "Erased: {customers} rows of the directory, {aliases} aliases; taken out of {remarks} remarks and "
        "{dead_letters} refused records. {cases} cases and {notices} notices keep a hash that names nobody.",
        "Dihapus: {customers} baris direktori, {aliases} alias; dikeluarkan dari {remarks} catatan dan {dead_letters} "
        "rekaman yang ditolak. {cases} kasus dan {notices} pemberitahuan menyimpan hash yang tidak menunjuk siapa pun.",
    ),
    "customer.copy": ("Copy", "Salin"),
    "customer.copied": ("Copied", "Tersalin"),
    "customer.cancel": ("Leave it as it is", "Biarkan saja"),
    "customer.conflict": (
        "Nothing was done: what we know of them has changed meanwhile{who}. This is how it stands now.",
        "Tidak ada yang diubah: datanya sudah berubah sementara itu{who}. Beginilah keadaannya sekarang.",
    ),
    "customer.conflict.by": (" ({what}: {who}, {at})", " ({what}: {who}, {at})"),
    "customer.csv.cases": ("Cases as CSV", "Kasus sebagai CSV"),
    "customer.csv.notices": ("Notices as CSV", "Pemberitahuan sebagai CSV"),
    "customer.csv.story": ("Story as CSV", "Cerita sebagai CSV"),
}
