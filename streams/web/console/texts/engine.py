"""What the engines say: details of a case's story, and why they refused something."""

TEXTS: dict[str, tuple[str, str]] = {
    # --- details of the story
    "story.detail.place": ("{signal}: {place}", "{signal}: {place}"),
    "story.detail.place_only": ("{place}", "{place}"),
    "story.detail.everyone": ("for everyone", "untuk semua"),
    "story.detail.split_off": ("{signals}, split off case {case}", "{signals}, dipisahkan dari kasus {case}"),
    "story.detail.joined.cause": ("{signal}, of the same cause", "{signal}, penyebabnya sama"),
    "story.detail.joined.customers": (
        "{signal}, which hit the same customers",
        "{signal}, pelanggan yang terdampak sama",
    ),
    "story.detail.became": ("{severity} → {severity_to}", "{severity} → {severity_to}"),
    "story.detail.sample": ("a sample of {n}", "{n} pelanggan dulu"),
    "story.detail.severity": ("its severity is {severity}", "tingkatnya {severity}"),
    "story.detail.waiting": (
        "{n} was told and still waits|{n} were told and still wait",
        "{n} sudah diberi tahu dan masih menunggu",
    ),
    "story.detail.told": ("{n} customer was told|{n} customers were told", "{n} pelanggan sudah diberi tahu"),
    "story.detail.into": ("into {case}", "ke kasus {case}"),
    "story.detail.from": ("{case} into this one", "{case} ke kasus ini"),
    "story.detail.all": ("all", "semua"),
    "story.detail.split": ("{signals} into case {case}", "{signals} ke kasus {case}"),
    "story.detail.unwatched": (
        "{signal} is no longer watched as it was",
        "{signal} tidak lagi dipantau seperti semula",
    ),
    "story.detail.silent": (
        "{signal} has not been heard of for an hour",
        "{signal} tidak ada kabarnya selama satu jam",
    ),
    "story.detail.new_level": (
        "{signal}: {factor} times what was expected before",
        "{signal}: {factor} kali dari yang dulu diperkirakan",
    ),
    "story.detail.episode": ("episode {n}|episode {n}", "episode {n}"),
    "story.detail.unshown": (
        "no customer who was hit has shown it",
        "belum ada pelanggan terdampak yang menunjukkannya",
    ),
    "story.detail.ended": ("ended", "diakhiri"),
    "story.detail.at_onset": ("at the onset", "tepat saat gangguan mulai"),
    "story.detail.from_onset": ("the onset", "saat gangguan mulai"),
    "story.detail.before_onset": ("{span} before the onset", "{span} sebelum gangguan mulai"),
    "story.detail.after_onset": ("{span} after the onset", "{span} setelah gangguan mulai"),
    "story.detail.lasting": ("from {when} on, for {span}", "mulai {when}, selama {span}"),
    # --- refusals
    "refused.nobody": ("nobody", "tidak ada"),
    "refused.state": (
        "It is {state}, so this can't be done to it.",
        "Kasus ini {state}, jadi hal itu tidak bisa dilakukan.",
    ),
    "refused.gone": (
        "There is no such case any more, or it was finished more than a day ago.",
        "Kasus ini sudah tidak ada, atau selesai lebih dari sehari yang lalu.",
    ),
    "refused.no_problem": (
        "What was no problem is dismissed, not resolved.",
        "Yang bukan masalah ditolak, bukan diselesaikan.",
    ),
    "refused.resolved_already": ("It is resolved already.", "Sudah diselesaikan."),
    "refused.assigned_already": ("It is assigned to {who} already.", "Sudah ditugaskan ke: {who}."),
    "refused.no_comment": ("A comment takes a text.", "Catatan perlu isi."),
    "refused.no_verdict": ("Dismissing takes a verdict.", "Untuk menolak perlu penilaian."),
    "refused.nobody_waits": (
        "Nobody who was told of it still waits and has not heard that they can try again.",
        "Tidak ada yang sudah diberi tahu, masih menunggu, dan belum tahu bahwa bisa mencoba lagi.",
    ),
    "refused.merge_itself": ("Merging takes another case.", "Untuk menggabungkan perlu kasus lain."),
    "refused.merge_into": (
        "The other case is {state}, so none can be merged into it.",
        "Kasus tujuan {state}, jadi tidak bisa digabungkan ke sana.",
    ),
    "refused.merge_modes": (
        "Only cases of one mode can be merged, shadow or live.",
        "Hanya kasus dengan mode sama yang bisa digabungkan, bayangan atau aktif.",
    ),
    "refused.split_some": (
        "Splitting takes some of the case's anomalies, not all.",
        "Yang dipisahkan harus sebagian anomali kasus, bukan semuanya.",
    ),
    "refused.approved_already": (
        "It is approved already; hold it to stop telling.",
        "Sudah disetujui; tahan untuk menghentikan pemberitahuan.",
    ),
    "refused.no_number": (
        "A sample takes a whole number from 1 on.",
        "Jumlah pelanggan harus bilangan bulat mulai dari 1.",
    ),
    "refused.told_already": (
        "Its customers are told already; hold it first.",
        "Pelanggannya sudah diberi tahu; tahan dulu.",
    ),
    "refused.held_already": (
        "It is held already; approve it to go on telling.",
        "Sudah ditahan; setujui untuk melanjutkan pemberitahuan.",
    ),
}
