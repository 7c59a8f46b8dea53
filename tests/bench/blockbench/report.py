# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Keep every sample; print medians, ratios of paired samples and tables."""

import json
import statistics

# metric: (heading, unit factor, digits, higher is better)
METRICS = {
    "iops": ("IOPS", 1, 0, True),
    "mib_s": ("MiB/s", 1, 0, True),
    "wall_s": ("time ms", 1e3, 2, False),
    "job_s": ("job s", 1, 2, False),
    "durable_s": ("job + close s", 1, 2, False),
    "p50_us": ("p50 µs", 1, 0, False),
    "p99_us": ("p99 µs", 1, 0, False),
    "p999_us": ("p99.9 µs", 1, 0, False),
    "max_us": ("max µs", 1, 0, False),
    "cpu_us_op": ("CPU µs/op", 1, 1, False),
    "cpu_s": ("CPU s", 1, 3, False),
    "cpu_ms_per_s": ("CPU ms/s", 1, 3, False),
    "rss_mib": ("peak RSS MiB", 1, 1, False),
    "rss_now_mib": ("RSS MiB", 1, 1, False),
    "private_mib": ("private MiB", 1, 1, False),
    "written_mib": ("target MiB", 1, 1, False),
    "wakeups_s": ("wakeups/s", 1, 2, False),
}


def number(value, digits):
    if value is None:
        return "–"
    if value and abs(value) < 10 ** -digits:
        return f"{value:.2g}"
    return f"{value:.{digits}f}"


class Results:
    def __init__(self, labels):
        self.labels = labels
        self.cases = {}
        self.errors = {}
        self.columns = {}

    def add(self, case, side, rep, figures):
        if side in self.errors.get(case, {}):
            return
        for metric, value in figures.items():
            if value is not None:
                (self.cases.setdefault(case, {}).setdefault(metric, {})
                 .setdefault(side, {}))[rep] = value

    def error(self, case, side, message):
        """A side that fails in a case has no figures in it at all."""
        self.errors.setdefault(case, {}).setdefault(side, message)
        for sides in self.cases.get(case, {}).values():
            sides.pop(side, None)

    def failed(self, case, side):
        return side in self.errors.get(case, {})

    def sample(self, case, metric, side, rep):
        return (self.cases.get(case, {}).get(metric, {}).get(side, {})
                .get(rep))

    def best(self, case, metric, side):
        samples = self.cases.get(case, {}).get(metric, {}).get(side)
        if not samples:
            return None
        higher = METRICS.get(metric, ("", 1, 1, False))[3]
        return (max if higher else min)(samples.values())

    def gain_at_best(self, case, metric):
        """The factor between the best repetition of each side: less touched
        by other programs on the machine than the medians."""
        a, b = self.best(case, metric, "A"), self.best(case, metric, "B")
        if not a or not b:
            return None
        return a / b if METRICS[metric][3] else b / a

    def median(self, case, metric, side):
        samples = self.cases.get(case, {}).get(metric, {}).get(side)
        return statistics.median(samples.values()) if samples else None

    def gains(self, case, metric):
        """Per repetition, by what factor A is better than B."""
        sides = self.cases.get(case, {}).get(metric, {})
        one, two = sides.get("A", {}), sides.get("B", {})
        if METRICS.get(metric, ("", 1, 1, False))[3]:
            one, two = two, one
        pairs = [(one[r], two[r]) for r in sorted(one) if r in two]
        return [y / x for x, y in pairs if x]

    def gain(self, case, metric):
        gains = self.gains(case, metric)
        return statistics.median(gains) if gains else None

    def part_of_limit(self, case, metric, side):
        value = self.best(case, metric, side)
        limit = self.best(case, metric, "limit")
        if not value or not limit:
            return None
        return value / limit if METRICS[metric][3] else limit / value

    def to_json(self):
        cases = {}
        for case, metrics in self.cases.items():
            cases[case] = {}
            for metric, sides in metrics.items():
                entry = {"samples": {s: [v[r] for r in sorted(v)]
                                     for s, v in sides.items()}}
                gains = self.gains(case, metric)
                if gains and metric in METRICS:
                    entry["gain_of_A"] = statistics.median(gains)
                    entry["gain_at_best"] = self.gain_at_best(case, metric)
                    entry["gain_spread"] = [min(gains), max(gains)]
                    entry["ratio_A_to_B"] = (
                        self.median(case, metric, "A")
                        / self.median(case, metric, "B")
                        if self.median(case, metric, "B") else None)
                for side in "AB":
                    part = (self.part_of_limit(case, metric, side)
                            if metric in METRICS else None)
                    if part is not None:
                        entry[f"{side}_to_limit"] = part
                cases[case][metric] = entry
        return {"labels": self.labels, "cases": cases, "errors": self.errors}

    def save(self, path, facts):
        with open(path, "w") as f:
            json.dump({"facts": facts, **self.to_json()}, f, indent=1)

    def table(self, title, metrics, extra=None):
        """A table of all cases whose name begins with the title's word."""
        prefix = title.split()[0] + "/" if title else "-"
        cases = [c for c in dict.fromkeys([*self.cases, *self.errors])
                 if c.startswith(prefix)]
        if not cases:
            return ""
        a, b = self.labels["A"], self.labels["B"]
        main, others = metrics[0], metrics[1:]
        has = {side: any(self.median(c, main, side) is not None
                         for c in cases) for side in ("limit", "other")}
        head = ["case", f"{METRICS[main][0]} {a}", b]
        if has["limit"]:
            head += ["limit"]
        if has["other"]:
            head += ["nbdkit"]
        head += ["A gain (spread)", "at best"]
        if has["limit"]:
            head += ["A of limit", "B of limit"]
        for m in others:
            head.append(f"{METRICS[m][0]} {a} / {b} (A gain)")
        rows = []
        for case in cases:
            row = [case[len(prefix):]]
            _, factor, digits, _ = METRICS[main]

            def show(side):
                value = (self.best if side == "limit" else self.median)(
                    case, main, side)
                return number(value if value is None else value * factor,
                              digits)
            row += [show("A"), show("B")]
            if has["limit"]:
                row.append(show("limit"))
            if has["other"]:
                row.append(show("other"))
            gains = self.gains(case, main)
            if gains:
                row.append(f"**{statistics.median(gains):.2f}** "
                           f"({min(gains):.2f}–{max(gains):.2f})")
            else:
                row.append("; ".join(f"{s}: {m}" for s, m in self.errors.get(
                    case, {}).items())[:160].replace("|", "/") or "–")
            row.append(number(self.gain_at_best(case, main), 2))
            if has["limit"]:
                for side in "AB":
                    row.append(number(
                        self.part_of_limit(case, main, side), 3))
            for m in others:
                _, factor, digits, _ = METRICS[m]
                va, vb = (self.median(case, m, s) for s in "AB")
                if va is None and vb is None:
                    row.append("–")
                    continue
                gain = self.gain(case, m)
                row.append(
                    f"{number(va if va is None else va * factor, digits)} / "
                    f"{number(vb if vb is None else vb * factor, digits)}"
                    + (f" ({gain:.2f})" if gain else ""))
            rows.append(row)
        lines = [f"## {title}", ""]
        if extra:
            lines += [extra, ""]
        lines += ["| " + " | ".join(head) + " |",
                  "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(r) + " |" for r in rows]
        return "\n".join(lines) + "\n"
