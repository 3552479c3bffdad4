"""What the signals page says."""

TEXTS: dict[str, tuple[str, str]] = {
    "signals": ("Signals", "Sinyal"),
    # --- the answer first
    "signals.answer": (
        "Watching {n} signal, {live} live.|Watching {n} signals, {live} live.",
        "Mengawasi {n} sinyal, {live} aktif.",
    ),
    "signals.stream": (
        "{rate} events a minute; the last until {at}.",
        "{rate} kejadian per menit; terakhir sampai {at}.",
    ),
    "signals.none_yet": ("No window of events has closed yet.", "Belum ada jendela kejadian yang ditutup."),
    "signals.shares": (
        "Of {n} events so far {late} came too late, {duplicate} twice, {refused} were refused.",
        "Dari {n} kejadian sejauh ini {late} terlambat, {duplicate} dobel, {refused} ditolak.",
    ),
    "signals.backlog": (
        "Events wait to be worked off since {at}.",
        "Kejadian menunggu diolah sejak {at}.",
    ),
    # --- budgets
    "signals.budgets": ("False cases: spent and allowed", "Kasus keliru: terpakai dan diizinkan"),
    "signals.budget.of": ("For", "Untuk"),
    "signals.budget.live": ("live signals together", "sinyal aktif bersama"),
    "signals.budget.shadow": ("shadow signals together", "sinyal bayangan bersama"),
    "signals.budget.current": ("Now", "Kini"),
    "signals.budget.since": ("this {per}, since {at}", "{per} ini, sejak {at}"),
    "signals.budget.spent": ("{spent} of {limit} spent", "{spent} dari {limit} terpakai"),
    "signals.budget.over": ("over", "terlampaui"),
    "signals.budget.unjudged": (
        "{n} case without a verdict|{n} cases without a verdict",
        "{n} kasus belum dinilai",
    ),
    "signals.budget.before": ("Before, newest first", "Sebelumnya, terbaru dulu"),
    "signals.budget.period": (
        "{from_}: {false} false of {cases}, {limit} allowed",
        "{from_}: {false} keliru dari {cases}, {limit} diizinkan",
    ),
    "signals.per.week": ("week", "minggu"),
    "signals.per.day": ("day", "hari"),
    "signals.per.hour": ("hour", "jam"),
    "signals.per.period": ("period", "periode"),
    # --- one signal
    "signals.measure.share": ("share of failures", "porsi kegagalan"),
    "signals.measure.count": ("number of events", "jumlah kejadian"),
    "signals.measure.value": ("values", "nilai"),
    "signals.measure.joint": ("several signals together", "beberapa sinyal bersama"),
    "signals.counts": ("{measure}, every {window}", "{measure}, tiap {window}"),
    "signals.by": ("by {dimensions}", "menurut {dimensions}"),
    "signals.rate": ("Counted a minute", "Dihitung per menit"),
    "signals.bad": ("Bad now", "Buruk kini"),
    "signals.last": ("Last event", "Kejadian terakhir"),
    "signals.last.none": ("none in the last {n} windows", "tidak ada di {n} jendela terakhir"),
    "signals.spark": (
        "The last {n} windows, at most {most} in one; the red foot was bad",
        "{n} jendela terakhir, paling banyak {most}; kaki merah berarti buruk",
    ),
    "signals.spark.plain": (
        "The last {n} windows, at most {most} in one",
        "{n} jendela terakhir, paling banyak {most}",
    ),
    "signals.spark.name": ("Events in the last {n} windows", "Kejadian di {n} jendela terakhir"),
    "signals.draws_on": ("Budget", "Anggaran"),
    "signals.muted": ("Muted until {at} by {by}", "Dibisukan sampai {at} oleh {by}"),
    "signals.muted.where": ("for {where}", "untuk {where}"),
    "signals.thresholds": ("Thresholds", "Ambang"),
    "signals.thresholds.say": (
        "Evidence needed, in nats, so that {mean} false cases a period are to be expected; {hours} hours of its own "
        "past known.",
        "Bukti yang diperlukan, dalam nat, agar {mean} kasus keliru per periode yang diharapkan; {hours} jam masa "
        "lalunya diketahui.",
    ),
    "signals.thresholds.shift": (
        "Verdicts moved them by {shift} nats.",
        "Penilaian menggesernya {shift} nat.",
    ),
    "signals.thresholds.none": ("The engines have not said yet.", "Mesin belum melaporkannya."),
    "level.0": ("all together", "keseluruhan"),
    "level.1": ("single values", "nilai tunggal"),
    "level.2": ("pairs of values", "pasangan nilai"),
    "signals.level.line": ("{level}: {nats} nats, {n} looked at", "{level}: {nats} nat, {n} diamati"),
    "source.theory": ("from theory", "dari teori"),
    "source.own peaks": ("from its own past", "dari masa lalunya"),
    "signals.cases": ("Last cases", "Kasus terakhir"),
    "signals.cases.none": ("No case yet.", "Belum ada kasus."),
    "signals.cases.all": ("All of its cases", "Semua kasusnya"),
    "signals.verdict.none": ("no verdict yet", "belum dinilai"),
    "signals.csv": ("Signals as CSV", "Sinyal sebagai CSV"),
    "signals.csv.budgets": ("Budgets as CSV", "Anggaran sebagai CSV"),
    "signals.empty": ("Nothing is watched.", "Tidak ada yang diawasi."),
    "signals.empty.do": (
        "signals.yml lists no signal. `tocsin init` writes one that runs, to begin with.",
        "signals.yml belum berisi sinyal. `tocsin init` menulis contoh yang langsung berjalan.",
    ),
}
