"""What a case's page says."""

TEXTS: dict[str, tuple[str, str]] = {
    # --- the answer
    "case": ("Case", "Kasus"),
    "case.head": ("{title}, since {since}.", "{title}, sejak {since}."),
    "case.head.over": ("{title}, from {since} to {until}.", "{title}, dari {since} sampai {until}."),
    "case.head.share": (
        "{title}: {k} in {m} customers who try, since {since}.",
        "{title}: {k} dari {m} pelanggan yang mencoba, sejak {since}.",
    ),
    "case.head.share.over": (
        "{title}: {k} in {m} customers who tried, from {since} to {until}.",
        "{title}: {k} dari {m} pelanggan yang mencoba, dari {since} sampai {until}.",
    ),
    "case.head.share.tries": (
        "{title}: {k} in {m} tries, since {since}.",
        "{title}: {k} dari {m} percobaan, sejak {since}.",
    ),
    "case.head.share.tries.over": (
        "{title}: {k} in {m} tries, from {since} to {until}.",
        "{title}: {k} dari {m} percobaan, dari {since} sampai {until}.",
    ),
    "case.head.all": (
        "{title}: nearly every customer who tries, since {since}.",
        "{title}: hampir semua pelanggan yang mencoba, sejak {since}.",
    ),
    "case.head.all.over": (
        "{title}: nearly every customer who tried, from {since} to {until}.",
        "{title}: hampir semua pelanggan yang mencoba, dari {since} sampai {until}.",
    ),
    "case.head.all.tries": (
        "{title}: nearly every try, since {since}.",
        "{title}: hampir semua percobaan, sejak {since}.",
    ),
    "case.head.all.tries.over": (
        "{title}: nearly every try, from {since} to {until}.",
        "{title}: hampir semua percobaan, dari {since} sampai {until}.",
    ),
    "case.number.hit": ("{n} was hit|{n} were hit", "{n} terdampak"),
    "case.number.failing": ("{n} still fails|{n} still fail", "{n} masih gagal"),
    "case.number.told": ("{n} has been told|{n} have been told", "{n} sudah diberi tahu"),
    "case.number.would": (
        "{n} would have been told (dry run)|{n} would have been told (dry run)",
        "{n} akan diberi tahu (uji coba)",
    ),
    "case.number.called": ("{n} called|{n} called", "{n} menghubungi kita"),
    "case.loss": ("What failed was worth about {amount}.", "Nilai yang gagal sekitar {amount}."),
    "case.nobody_named": ("Nobody can be named.", "Tidak ada pelanggan yang dapat disebut."),
    "case.found": ("Found {span} after it began", "Ditemukan {span} setelah mulai"),
    "case.found.before": ("{span} before the first customer called", "{span} sebelum pelanggan pertama menghubungi"),
    "case.found.after": ("{span} after the first customer called", "{span} setelah pelanggan pertama menghubungi"),
    "case.found.none_called": ("nobody has called", "belum ada yang menghubungi"),
    "case.everyone": ("everyone", "semua"),
    "case.assigned": ("works on it: {who}", "ditangani: {who}"),
    "case.nobody": ("nobody works on it", "belum ada yang menangani"),
    "case.episode": ("episode {n}|episode {n}", "episode {n}"),
    "case.merged_into": ("It goes on as a part of another case:", "Berlanjut sebagai bagian dari kasus lain:"),
    "case.merged_to": ("case {id}", "kasus {id}"),
    "case.stands.shadow": ("In shadow: nobody is told.", "Bayangan: tidak ada yang diberi tahu."),
    "case.stands.needed": (
        "Nobody is told until somebody approves.",
        "Tidak ada yang diberi tahu sebelum disetujui.",
    ),
    "case.stands.sample": (
        "A sample may be told; the others wait for approval.",
        "Sebagian boleh diberi tahu; sisanya menunggu persetujuan.",
    ),
    "case.stands.approved": ("Telling is approved.", "Pemberitahuan disetujui."),
    "case.stands.held": ("Held by a person: nobody is told.", "Ditahan: tidak ada yang diberi tahu."),
    "case.stands.waiting": ("{n} message is held.|{n} messages are held.", "{n} pesan ditahan."),
    "case.stands.queued": ("{n} message is on its way.|{n} messages are on their way.", "{n} pesan sedang dikirim."),
    "case.stands.failed": (
        "{n} message could not be delivered.|{n} messages could not be delivered.",
        "{n} pesan gagal disampaikan.",
    ),
    "case.stands.unknown": (
        "{n} message may have gone out: a person decides.|{n} messages may have gone out: a person decides.",
        "{n} pesan mungkin sudah terkirim: perlu keputusan orang.",
    ),
    # --- what can be done
    "do": ("What to do", "Tindakan"),
    "do.acknowledge": ("Acknowledge", "Tangani"),
    "do.mine": ("Assign to me", "Tugaskan ke saya"),
    "do.assign": ("Assign to…", "Tugaskan ke…"),
    "do.approve": ("Tell them…", "Beri tahu mereka…"),
    "do.hold": ("Hold…", "Tahan…"),
    "do.try-again": ("“Try again”…", "“Coba lagi”…"),
    "do.resolve": ("Resolve…", "Selesaikan…"),
    "do.dismiss": ("Dismiss…", "Tolak…"),
    "do.merge": ("Merge…", "Gabungkan…"),
    "do.split": ("Split…", "Pisahkan…"),
    "do.stop-sending": ("Stop all sending…", "Hentikan semua pengiriman…"),
    "do.go-on-sending": ("Go on sending…", "Lanjutkan pengiriman…"),
    "do.cancel": ("Cancel", "Batal"),
    "do.more": ("More", "Lainnya"),
    "do.nothing": ("Nothing can be done to it any more.", "Tidak ada lagi yang bisa dilakukan."),
    "do.may_not": ("You may read. Acting takes another role.", "Anda boleh membaca. Untuk bertindak perlu peran lain."),
    "do.sending.on": ("Sending: on", "Pengiriman: aktif"),
    "do.sending.off": ("Sending: stopped", "Pengiriman: dihentikan"),
    "do.sending.dry": ("Sending: dry run", "Pengiriman: uji coba"),
    # --- asking once
    "ask.assign": ("Who works on it?", "Siapa yang menangani?"),
    "ask.assign.label": ("Name; empty: nobody", "Nama; kosong: tidak ada"),
    "ask.assign.do": ("Assign", "Tugaskan"),
    "ask.approve": ("Tell the customers of this case", "Beri tahu pelanggan kasus ini"),
    "ask.approve.sends": ("Sends {list}.", "Mengirim {list}."),
    "ask.approve.would": (
        "Would send {list}; this is a dry run, so nothing goes out.",
        "Akan mengirim {list}; ini uji coba, jadi tidak ada yang keluar.",
    ),
    "ask.approve.none": (
        "Nobody waits at the moment; whoever is hit from now on is told.",
        "Saat ini tidak ada yang menunggu; yang terdampak mulai sekarang diberi tahu.",
    ),
    "ask.approve.quiet": (
        "{n} of them is held for quiet hours until {until}.|{n} of them are held for quiet hours, the first until "
        "{until}.",
        "{n} di antaranya ditahan selama jam tenang sampai {until}.",
    ),
    "ask.approve.nobody": (
        "{n} has no channel that they agreed to, and is not told.|{n} have no channel that they agreed to, and are "
        "not told.",
        "{n} tidak punya kanal yang disetujui, dan tidak diberi tahu.",
    ),
    "ask.approve.over": (
        "{n} more has got through or called meanwhile, or is unlikely to have been hit, and is not told.|{n} more have "
        "got through or called meanwhile, or are unlikely to have been hit, and are not told.",
        "{n} lainnya sudah berhasil, menghubungi kita, atau kecil kemungkinan terdampak, dan tidak diberi tahu.",
    ),
    "ask.approve.later": (
        "Whoever is hit later is told as well. Each is checked again at the moment of sending; who got through "
        "meanwhile is not told.",
        "Yang terdampak kemudian juga diberi tahu. Setiap pesan diperiksa lagi saat dikirim; yang sudah berhasil "
        "tidak diberi tahu.",
    ),
    "ask.approve.killed": (
        "Sending is stopped: they wait until it goes on.",
        "Pengiriman sedang dihentikan: pesan menunggu sampai dilanjutkan.",
    ),
    "ask.approve.do": ("Tell {n} customer|Tell all {n} customers", "Beri tahu {n} pelanggan"),
    "ask.approve.do.none": ("Approve", "Setujui"),
    "ask.sample": (
        "Or a sample first, those who most need it; the others go on waiting.",
        "Atau sebagian dulu, yang paling membutuhkan; sisanya tetap menunggu.",
    ),
    "ask.sample.label": ("Customers in the sample", "Jumlah pelanggan"),
    "ask.sample.do": ("Tell a sample", "Beri tahu sebagian"),
    "ask.channel": ("{n} {channel} message|{n} {channel} messages", "{n} pesan {channel}"),
    "ask.hold": ("Hold this case", "Tahan kasus ini"),
    "ask.hold.says": (
        "Nobody else hears of the problem until somebody approves. Told so far: {told}. On their way, and stopped "
        "as far as "
        "they have not left: {queued}.",
        "Tidak ada lagi yang diberi tahu sebelum disetujui. Sudah diberi tahu: {told}. Sedang dikirim, dan dihentikan "
        "selama belum keluar: {queued}.",
    ),
    "ask.hold.owed": (
        "“It works again” still goes to those who were told.",
        "“Sudah normal” tetap dikirim ke yang sudah diberi tahu.",
    ),
    "ask.hold.do": ("Hold", "Tahan"),
    "ask.try-again": ("Say that they can try again", "Sampaikan bahwa bisa dicoba lagi"),
    "ask.try-again.says": (
        "Sends 1 message: {n} customer was told and still waits.|Sends {n} messages, one each to those who were "
        "told and "
        "still wait. Say so only if it works.",
        "Mengirim {n} pesan, satu untuk tiap pelanggan yang sudah diberi tahu dan masih menunggu. Lakukan hanya "
        "jika sudah "
        "berfungsi.",
    ),
    "ask.try-again.none": (
        "Nobody who was told still waits, so nobody would hear of it.",
        "Tidak ada yang masih menunggu, jadi tidak ada yang akan diberi tahu.",
    ),
    "ask.try-again.do": ("Send {n} message|Send {n} messages", "Kirim {n} pesan"),
    "ask.resolve": ("Close it: it is over", "Tutup: sudah berakhir"),
    "ask.resolve.says": (
        "Messages that are held are dropped ({held}). Those who were told ({told}) hear that it works again, each "
        "after "
        "their own success. What comes back within a day opens it again.",
        "Pesan yang ditahan dibuang ({held}). Yang sudah diberi tahu ({told}) mendapat kabar “sudah normal”, "
        "masing-masing "
        "setelah berhasil sendiri. Jika muncul lagi dalam sehari, kasus dibuka lagi.",
    ),
    "ask.resolve.real": ("It was real", "Memang terjadi"),
    "ask.resolve.real.says": ("Costs nothing of the budget.", "Tidak mengurangi anggaran."),
    "ask.resolve.expected": (
        "It was expected (planned work, a campaign)",
        "Sudah diperkirakan (pekerjaan terencana, promosi)",
    ),
    "ask.resolve.expected.says": (
        "Costs nothing of the budget, and teaches nothing of what chance does.",
        "Tidak mengurangi anggaran, dan tidak dipakai mempelajari kebetulan.",
    ),
    "ask.resolve.do": ("Resolve", "Selesaikan"),
    "ask.dismiss": ("Close it: nobody needs to look after it", "Tutup: tidak perlu ditangani"),
    "ask.dismiss.not": ("It was no problem", "Bukan masalah"),
    "ask.dismiss.not.corrects": (
        "The {n} customer who was told gets one correction.|The {n} customers who were told get one correction each.",
        "{n} pelanggan yang sudah diberi tahu mendapat satu ralat.",
    ),
    "ask.dismiss.budget": (
        "Costs the budget one false case: {after} of {limit} ({words}).",
        "Mengurangi anggaran satu kasus keliru: {after} dari {limit} ({words}).",
    ),
    "ask.dismiss.budget.over": (
        "Costs the budget one false case: {after} of {limit} ({words}), which is more than you put up with. The "
        "thresholds "
        "rise with the week's verdicts.",
        "Mengurangi anggaran satu kasus keliru: {after} dari {limit} ({words}), melebihi batas Anda. Ambang naik "
        "mengikuti "
        "penilaian minggu ini.",
    ),
    "ask.dismiss.budget.unjudged": (
        "{n} other case of the period has no verdict yet; the thresholds follow once all have one.|{n} other cases "
        "of the "
        "period have no verdict yet; the thresholds follow once all have one.",
        "{n} kasus lain pada masa itu belum dinilai; ambang disesuaikan setelah semua dinilai.",
    ),
    "ask.dismiss.budget.past": (
        "Counts as a false case of a period that is over.",
        "Dihitung sebagai kasus keliru pada masa yang sudah lewat.",
    ),
    "ask.dismiss.says": ("Messages that are held are dropped: {held}.", "Pesan yang ditahan dibuang: {held}."),
    "ask.dismiss.do": ("Dismiss", "Tolak"),
    "ask.verdict": ("Verdict", "Penilaian"),
    "ask.merge": ("Let it go on as a part of another case", "Lanjutkan sebagai bagian dari kasus lain"),
    "ask.merge.says": (
        "Its customers ({hit}) and what is still to come of it move into the other one. “Split” takes it apart again.",
        "Pelanggannya ({hit}) dan kelanjutannya dipindah ke kasus itu. “Pisahkan” memisahkannya lagi.",
    ),
    "ask.merge.label": ("Into", "Ke"),
    "ask.merge.none": ("There is no other unfinished case.", "Tidak ada kasus lain yang belum selesai."),
    "ask.merge.do": ("Merge", "Gabungkan"),
    "ask.split": ("Make a case of some of its anomalies", "Jadikan sebagian anomalinya kasus sendiri"),
    "ask.split.says": (
        "Those that you choose leave, with the customers whom only they hit.",
        "Yang dipilih dipisahkan, bersama pelanggan yang hanya terdampak olehnya.",
    ),
    "ask.split.do": ("Split off", "Pisahkan"),
    "ask.stop-sending": ("Stop all sending", "Hentikan semua pengiriman"),
    "ask.stop-sending.says": (
        "The kill switch: from now on nothing goes out to anybody, of no case and on no channel. {n} message waits "
        "until it "
        "goes on.|The kill switch: from now on nothing goes out to anybody, of no case and on no channel. {n} "
        "messages wait "
        "until it goes on.",
        "Sakelar darurat: mulai sekarang tidak ada pesan yang keluar, dari kasus dan kanal mana pun. {n} pesan "
        "menunggu "
        "sampai dilanjutkan.",
    ),
    "ask.stop-sending.says.none": (
        "The kill switch: from now on nothing goes out to anybody, of no case and on no channel. Nothing waits at the "
        "moment.",
        "Sakelar darurat: mulai sekarang tidak ada pesan yang keluar, dari kasus dan kanal mana pun. Saat ini tidak "
        "ada yang menunggu.",
    ),
    "ask.stop-sending.do": ("Stop all sending", "Hentikan semua pengiriman"),
    "ask.go-on-sending": ("Go on sending", "Lanjutkan pengiriman"),
    "ask.go-on-sending.says": (
        "{n} message that waits goes out within seconds, each checked again.|{n} messages that wait go out, each "
        "checked again.",
        "{n} pesan yang menunggu akan dikirim, masing-masing diperiksa lagi.",
    ),
    "ask.go-on-sending.says.none": ("Nothing waits at the moment.", "Saat ini tidak ada yang menunggu."),
    "ask.go-on-sending.do": ("Go on sending", "Lanjutkan pengiriman"),
    # --- what came of it
    "said.acknowledge": ("Acknowledged.", "Ditangani."),
    "said.assign": ("Assigned.", "Ditugaskan."),
    "said.comment": ("Written down.", "Dicatat."),
    "said.resolve": ("Resolved.", "Diselesaikan."),
    "said.dismiss": ("Dismissed.", "Ditolak."),
    "said.dismiss.cost": (
        "Dismissed as no problem: {after} of {limit} false cases spent.",
        "Ditolak sebagai bukan masalah: {after} dari {limit} kasus keliru terpakai.",
    ),
    "said.dismiss.free": (
        "Dismissed as expected; the budget is untouched.",
        "Ditolak karena diperkirakan; anggaran utuh.",
    ),
    "said.merge": ("Merged.", "Digabungkan."),
    "said.split": ("Split off.", "Dipisahkan."),
    "said.approve": ("Approved: they are being told.", "Disetujui: mereka sedang diberi tahu."),
    "said.sample": ("A sample of {n} is being told.", "Sampel {n} pelanggan sedang diberi tahu."),
    "said.hold": ("Held: nobody else is told.", "Ditahan: tidak ada lagi yang diberi tahu."),
    "said.try-again": (
        "Those who wait are told that they can try again.",
        "Yang menunggu diberi tahu bisa mencoba lagi.",
    ),
    "said.stop-sending": ("Sending is stopped.", "Pengiriman dihentikan."),
    "said.go-on-sending": ("Sending goes on.", "Pengiriman dilanjutkan."),
    "said.waiting": (
        "Left for the engines, which have not answered yet. Look again in a moment.",
        "Sudah diteruskan, tetapi belum dijawab. Lihat lagi sebentar lagi.",
    ),
    # --- conflicts
    "conflict": (
        "Nothing was done: it has changed since you looked.",
        "Tidak ada yang dilakukan: sudah berubah sejak Anda lihat.",
    ),
    "conflict.who": ("Meanwhile:", "Sementara itu:"),
    "conflict.now": (
        "Look at it as it is now, and act again if you still want to.",
        "Lihat keadaannya sekarang, lalu ulangi bila masih perlu.",
    ),
    "conflict.refused": ("Nothing was done.", "Tidak ada yang dilakukan."),
    "conflict.switch": (
        "{who} has turned the kill switch {how} meanwhile. Below is how it stands now.",
        "{who} sudah {how} sakelar darurat sementara itu. Di bawah ini keadaannya sekarang.",
    ),
    "conflict.text": ("What you wrote:", "Yang Anda tulis:"),
    "wrong.text": ("Nothing was done: the field was empty.", "Tidak ada yang dilakukan: isian kosong."),
    "wrong.number": (
        "Nothing was done: expected a whole number from 1 on.",
        "Tidak ada yang dilakukan: perlu bilangan bulat mulai dari 1.",
    ),
    "wrong.choice": ("Nothing was done: choose one first.", "Tidak ada yang dilakukan: pilih dulu."),
    "wrong.long": ("Nothing was done: the text is too long.", "Tidak ada yang dilakukan: teks terlalu panjang."),
    # --- the chart
    "chart": ("Observed and expected", "Teramati dan diperkirakan"),
    "chart.none": ("No numbers for this span", "Tidak ada angka untuk rentang ini"),
    "chart.alt": (
        "{unit}. From {from} to {to} the highest is {top}, where at most {high} is usual.",
        "{unit}. Dari {from} sampai {to} yang tertinggi {top}, biasanya paling banyak {high}.",
    ),
    "chart.observed": ("Observed", "Teramati"),
    "chart.expected": ("Expected", "Diperkirakan"),
    "chart.band": ("Usual range", "Rentang biasa"),
    "chart.beyond": ("Beyond it", "Di luarnya"),
    "chart.unit.failed": ("Failed, per {per}", "Gagal, per {per}"),
    "chart.unit.came": ("Came, per {per}", "Datang, per {per}"),
    "chart.unit.fewer": ("Came, per {per}", "Datang, per {per}"),
    "chart.unit.beyond": ("Beyond the limit, per {per}", "Melewati batas, per {per}"),
    "chart.unit.ranked": ("Unusually far out, per {per}", "Sangat menyimpang, per {per}"),
    "chart.per.minute": ("minute", "menit"),
    "chart.per.minutes": ("{n} minutes", "{n} menit"),
    "chart.per.hour": ("hour", "jam"),
    "chart.per.hours": ("{n} hours", "{n} jam"),
    "chart.per.day": ("day", "hari"),
    "chart.per.days": ("{n} days", "{n} hari"),
    "chart.per.seconds": ("{n} s", "{n} dtk"),
    "chart.mark.onset": ("Began {at}", "Mulai {at}"),
    "chart.mark.detected": ("Found {at}", "Ditemukan {at}"),
    "chart.mark.told": ("First told {at}", "Pertama diberi tahu {at}"),
    "chart.mark.called": ("First call {at}", "Kontak pertama {at}"),
    "chart.mark.ended": ("Ended {at}", "Berakhir {at}"),
    "chart.mark.recovering": ("Recovering {at}", "Memulih {at}"),
    "chart.mark.resolved": ("Resolved {at}", "Selesai {at}"),
    "chart.signal": ("Signal", "Sinyal"),
    "chart.whole": ("Whole", "Seluruhnya"),
    "chart.in": ("Zoom in", "Perbesar"),
    "chart.out": ("Zoom out", "Perkecil"),
    "chart.earlier": ("Earlier", "Sebelumnya"),
    "chart.later": ("Later", "Sesudahnya"),
    "chart.drag": ("Drag across the chart to zoom.", "Seret di grafik untuk memperbesar."),
    # --- causes and why
    "causes": ("Where it lies", "Letaknya"),
    "causes.share.fewer": ("{share} of what is missing", "{share} dari yang hilang"),
    "causes.share": ("{share} of the excess", "{share} dari kelebihan"),
    "causes.sure": ("{share} sure", "{share} yakin"),
    "causes.same": ("the same as {names}", "sama dengan {names}"),
    "causes.more": ("and {n} more|and {n} more", "dan {n} lagi"),
    "why": ("Why we think so", "Mengapa kami menduga begitu"),
    "why.observed": ("Observed", "Teramati"),
    "why.expected": ("Expected", "Diperkirakan"),
    "why.evidence": ("Evidence", "Bukti"),
    "why.threshold": ("Threshold", "Ambang"),
    "why.budget": ("Budget", "Anggaran"),
    "why.nats": ("{n} nats", "{n} nat"),
    "why.nats.says": (
        "Evidence is in nats: each 2.3 more make chance ten times less likely.",
        "Bukti dihitung dalam nat: setiap tambahan 2,3 membuat kebetulan sepuluh kali lebih tidak mungkin.",
    ),
    "why.none": ("This version of the case keeps no reasons.", "Versi kasus ini tidak menyimpan alasan."),
    "facts": ("What was known", "Yang diketahui"),
    "facts.deployment": ("deployment", "rilis"),
    "facts.maintenance": ("maintenance", "pemeliharaan"),
    "facts.mute": ("mute", "dibisukan"),
    "silences": ("Why others were not told", "Mengapa yang lain tidak diberi tahu"),
    "comparison": ("What telling changed", "Yang berubah karena diberi tahu"),
    "comparison.customers": ("Customers", "Pelanggan"),
    "comparison.called": ("Called", "Menghubungi"),
    "comparison.others": ("told at once", "langsung diberi tahu"),
    "comparison.out": ("held out: told later", "ditunda: diberi tahu belakangan"),
    "comparison.avoided": (
        "Telling at once avoided about {n} contact.|Telling at once avoided about {n} contacts.",
        "Langsung memberi tahu menghindarkan sekitar {n} kontak.",
    ),
    "comparison.brought": (
        "Telling at once brought about {n} contact more.|Telling at once brought about {n} contacts more.",
        "Langsung memberi tahu menambah sekitar {n} kontak.",
    ),
    "comparison.unclear": (
        "Too few to tell a difference: between {low} and {high} percentage points (95 %).",
        "Terlalu sedikit untuk melihat perbedaan: antara {low} dan {high} poin persen (95 %).",
    ),
    "comparison.how": (
        "Who is held out is drawn by lot; whoever was drawn counts, whatever else kept them from being told.",
        "Yang ditunda dipilih secara acak; semua yang terpilih dihitung, apa pun alasan lain mereka tidak diberi tahu.",
    ),
    # --- who is hit
    "who": ("Who is hit", "Siapa yang terdampak"),
    "who.all": ("all", "semua"),
    "who.still_failing": ("still failing", "masih gagal"),
    "who.recovered": ("recovered", "pulih"),
    "who.confirmed": ("confirmed", "pasti"),
    "who.likely": ("likely", "kemungkinan"),
    "who.told": ("told", "diberi tahu"),
    "who.untold": ("not told", "tidak diberi tahu"),
    "who.called": ("called", "menghubungi"),
    "who.lost": ("largest loss", "kerugian terbesar"),
    "who.search": ("Find in this case", "Cari di kasus ini"),
    "who.search.hint": ("Customer id or alias", "ID atau alias pelanggan"),
    "who.customer": ("Customer", "Pelanggan"),
    "who.state": ("State", "Keadaan"),
    "who.failed": ("Failed ({zone})", "Gagal ({zone})"),
    "who.tries": ("Times", "Kali"),
    "who.tries.loss": ("Times, loss", "Kali, kerugian"),
    "who.worth": ("Tier, contract value", "Tingkat, nilai kontrak"),
    "who.success": ("Last success", "Berhasil terakhir"),
    "who.contact": ("Called", "Menghubungi"),
    "who.notices": ("Told, or why not", "Diberi tahu, atau mengapa tidak"),
    "who.grade.likely": ("likely, {share}", "kemungkinan, {share}"),
    "who.state.hit": ("hit", "terdampak"),
    "who.state.still_failing": ("still failing", "masih gagal"),
    "who.state.recovered": ("recovered", "pulih"),
    "who.erased": ("(erased)", "(dihapus)"),
    "who.undecided": ("nothing decided", "belum diputuskan"),
    "who.until": ("until {at}", "sampai {at}"),
    "who.empty": ("Nobody in this case.", "Tidak ada di kasus ini."),
    "who.unknown": ("Nobody of this id is hit by this case.", "Tidak ada pelanggan dengan ID ini di kasus ini."),
    "who.preview": ("reads", "baca"),
    "who.preview.of": ("What {id} reads", "Yang dibaca {id}"),
    "who.simulated": ("simulated", "simulasi"),
    "who.csv": ("Download CSV", "Unduh CSV"),
    "who.nobody": (
        "This signal counts without naming anybody: there is nobody to list, and nobody is told.",
        "Sinyal ini menghitung tanpa nama: tidak ada yang bisa didaftar, dan tidak ada yang diberi tahu.",
    ),
    # --- the preview
    "preview": ("What they read", "Yang mereka baca"),
    "preview.of": ("As {id} would read it", "Seperti yang dibaca {id}"),
    "preview.kind": ("Message", "Pesan"),
    "preview.theirs": ("their language", "bahasa pelanggan"),
    "preview.to": ("to {to}", "ke {to}"),
    "preview.no_consent": ("they did not agree to this channel", "tidak menyetujui kanal ini"),
    "preview.length": ("{n} character|{n} characters", "{n} karakter"),
    "preview.template": ("template {name}", "templat {name}"),
    "preview.none": (
        "Nobody is listed yet, so there is nothing to show.",
        "Belum ada pelanggan, jadi belum ada pratinjau.",
    ),
    "preview.broken": ("The words can't be shown:", "Pesan tidak dapat ditampilkan:"),
    "language.en": ("English", "Inggris"),
    "language.id": ("Bahasa Indonesia", "Bahasa Indonesia"),
    # --- the story
    "story": ("What happened", "Yang terjadi"),
    "story.all": ("Show all {n} lines|Show all {n} lines", "Tampilkan semua {n} baris"),
    "story.comment": ("Say something about it", "Tulis catatan"),
    "story.comment.do": ("Comment", "Kirim"),
    "story.machine": ("Tocsin", "Tocsin"),
    "story.told": ("{n} told|{n} told", "{n} diberi tahu"),
    "story.would": (
        "{n} would have been told (dry run)|{n} would have been told (dry run)",
        "{n} akan diberi tahu (uji coba)",
    ),
    "story.held_back": ("{n} held|{n} held", "{n} ditahan"),
    "story.opened": ("case opened", "membuka kasus"),
    "story.joined": ("another signal joined", "sinyal lain bergabung"),
    "story.cause-revised": ("cause revised", "penyebab diperbarui"),
    "story.severity-changed": ("severity", "tingkat"),
    "story.first-contact": ("the first customer called", "pelanggan pertama menghubungi"),
    "story.notices": ("notices", "pemberitahuan"),
    "story.acknowledged": ("acknowledged", "menanganinya"),
    "story.recovering": ("it is recovering", "mulai pulih"),
    "story.relapsed": ("it came back", "gangguan muncul lagi"),
    "story.resolved": ("resolved", "menyatakan selesai"),
    "story.reopened": ("opened again", "membuka lagi"),
    "story.dismissed": ("dismissed", "menolaknya"),
    "story.merged": ("merged", "menggabungkan"),
    "story.assigned": ("assigned to {to}", "menugaskannya ke {to}"),
    "story.unassigned": ("assigned to nobody", "mencabut penugasan"),
    "story.commented": ("wrote", "menulis"),
    "story.split": ("split", "memisahkan"),
    "story.approval-needed": ("waits for approval", "menunggu persetujuan"),
    "story.approved": ("approved", "menyetujui"),
    "story.held": ("held", "menahannya"),
    "story.try-again": ("told them to try again", "menyampaikan bisa dicoba lagi"),
    "story.signal-lost": ("a signal was lost", "sinyal hilang"),
    "story.new-level": ("it has become normal", "sudah menjadi normal"),
    "story.deployment": ("deployment", "rilis"),
    "story.maintenance": ("maintenance", "pemeliharaan"),
    "story.mute": ("mute", "dibisukan"),
    "story.opened.found": ("case opened, found at {at}", "membuka kasus, ditemukan {at}"),
}
