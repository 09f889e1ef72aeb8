"""The table at the end."""


def number(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def spread(values):
    """Half of the distance between the quartiles, in percent of the median."""
    if not isinstance(values, list) or len(values) < 3:
        return None
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    if not middle:
        return None
    q = len(ordered) // 4
    return (ordered[-1 - q] - ordered[q]) / 2 / middle * 100


def others(row):
    """Who is in no column of its own."""
    return ", ".join(f"{n} {number(v)}" for n, v in row.values.items()
                     if n not in ("tokenhop", "haproxy", "nginx"))


def ratio_of_least(row):
    """The same ratio by the least disturbed round of each: a second opinion on a busy machine."""
    raw = [row.raw.get(n) for n in ["tokenhop", *row.versus]]
    if not row.is_ratio or not all(isinstance(values, list) and values for values in raw):
        return None
    ours, *theirs = (min(values) for values in raw)
    return ours / min(theirs) if min(theirs) > 0 else None


def table(rows):
    head = ["scenario", "unit", "tokenhop", "haproxy", "nginx", "ratio", "target", "met?"]
    lines = [head]
    for row in rows:
        if row.measured is None:
            ratio, met = "-", "-"
        else:
            ratio = f"{row.measured:.2f}" if row.is_ratio else "-"
            met = "-" if row.met is None else "yes" if row.met else "NO"
        lines.append([row.what, row.unit] +
                     [number(row.values.get(n)) for n in ("tokenhop", "haproxy", "nginx")] +
                     [ratio, row.target, met + (f" ({others(row)})" if others(row) else "")])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = []
    for k, line in enumerate(lines):
        cells = [c.rjust(w) if 2 <= i <= 5 else c.ljust(w)
                 for i, (c, w) in enumerate(zip(line, widths))]
        text.append("| " + " | ".join(cells) + " |")
        if k == 0:
            text.append("|" + "|".join("-" * (w + 1) + (":" if 2 <= i <= 5 else "-")
                                       for i, w in enumerate(widths)) + "|")
    return "\n".join(text)


def remarks(rows):
    text = []
    for row in rows:
        parts = [row.remark] if row.remark else []
        least = ratio_of_least(row)
        if least is not None:
            parts.append(f"of the least of all rounds {least:.2f} x")
        spreads = {n: spread(v) for n, v in row.raw.items()}
        spreads = {n: s for n, s in spreads.items() if s is not None}
        if spreads:
            parts.append("spread +-" + ", ".join(f"{s:.1f} % {n}" for n, s in spreads.items()))
        if parts:
            text.append(f"{row.what} ({row.unit}): " + "; ".join(parts))
    return "\n".join(text)
