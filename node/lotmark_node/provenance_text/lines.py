"""One line of text for each link of a trace, made of the link and of the event behind it."""

from lotmark.client.provenance_records import Amount, EdgeKind, Trace, TraceEdge
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.provenance_text.facts import Fact, TraceFacts
from lotmark_node.provenance_text.names import (
    amount_text,
    day_text,
    far_name,
    is_lot,
    short_name,
    unit_text,
)

BAD = "⚠ "  # before what did not conform, or was not in order
_PPM_DIGITS = 3
_DIGEST_DIGITS = 8
_NONCONFORMING = quality_pb2.VERDICT_NONCONFORMING


class LinkText:
    """Tells links of one trace."""

    def __init__(self, trace: Trace, facts: TraceFacts) -> None:
        self._facts = facts
        self._names = {node.number: node.id for node in trace.nodes}

    def name(self, number: int) -> str:
        """Return the id of a thing; one that an earlier answer told has only its number."""
        return self._names.get(number, f"no. {number} of an earlier answer")

    def root(self, trace: Trace, *, back: bool) -> str:
        """Return the words for the item that was asked for; a trace back tells how it was made."""
        item = trace.head.item
        made = next(
            (
                edge
                for edge in trace.edges
                if back and edge.near == 0 and edge.kind is EdgeKind.CONSUMED
            ),
            None,
        )
        fact = self._facts.lots.get(item)
        words = [short_name(item)]
        if fact is not None:
            words += [self._lot_words(item, None), fact.party, day_text(_end_ms(fact))]
        elif made is not None:
            words += [*self._process(made), made.party, day_text(made.at_ms)]
        return _joined(words)

    def link(self, edge: TraceEdge, *, used_ms: int = 0, name: str = "") -> str:
        """Return the words for a link.

        Args:
            edge: The link.
            used_ms: When its near end was used last; a calibration is held against it.
            name: What to call its far end, where the line is for several like it.
        """
        fact = self._facts.by_entry.get(edge.entry)
        far = self.name(edge.far)
        name = name or far_name(edge, far)
        match edge.kind:
            case EdgeKind.REPORTED:
                words = _report(name, edge, fact)
            case EdgeKind.CALIBRATED:
                words = _calibration(name, edge, fact, used_ms)
            case EdgeKind.MEASURED:
                words = self._measured(name, edge, fact)
            case EdgeKind.INFERRED:
                words = self._inferred(name, edge, fact)
            case EdgeKind.SHIPPED:
                words = [f"shipped to {name}", edge.party, day_text(edge.at_ms)]
            case EdgeKind.RECEIVED:
                last = self._facts.by_entry.get(edge.last_entry)
                words = [f"received by {name}", *_inspected(last), day_text(edge.at_ms)]
            case EdgeKind.CLAIMED:
                words = [f"claim {name}", edge.party, day_text(edge.at_ms)]
            case EdgeKind.USED:
                words = [name, "used", *_times(edge), *_bad_count(edge), day_text(edge.at_ms)]
            case _:
                words = [name, *self._part(far, edge)]
        if edge.ended:
            words.append("taken out again")
        return (BAD if edge.nonconforming_count else "") + _joined(words)

    def last_ms(self, edge: TraceEdge) -> int:
        """Return when a link was so last, as far as its events were read."""
        last = self._facts.by_entry.get(edge.last_entry)
        return edge.at_ms if last is None else max(edge.at_ms, last.event.time.end_ms)

    def bad(self, edge: TraceEdge) -> list[str]:
        """Return the words for some of a link's nonconforming events, and what persons found."""
        told = []
        for fact in self._facts.bad.get((edge.near, edge.far), ()):
            words = [*_judged(fact.event), f"entry {fact.index}"]
            for review in self._facts.reviews.get(fact.event_id, ()):
                words.append(_review(review))
            told.append(BAD + _joined(words))
        return told

    def _part(self, far: str, edge: TraceEdge) -> list[str]:
        """Return the words for an item that went in or out."""
        fact = self._facts.lots.get(far)
        words = [self._lot_words(far, edge.amount)]
        if edge.kind is not EdgeKind.CONSUMED:
            words.append(edge.kind.name.lower())
        author, time_ms = (edge.party, edge.at_ms) if fact is None else (fact.party, _end_ms(fact))
        return [*words, author, day_text(time_ms)]

    def _lot_words(self, item: str, amount: Amount | None) -> str:
        fact = self._facts.lots.get(item)
        whole = None
        if fact is not None and fact.event.lot_created.quantity:
            lot = fact.event.lot_created
            whole = Amount(value=lot.quantity, unit=lot.unit)
        if amount is not None:
            text = amount_text(amount, whole)
        else:
            text = "" if whole is None else amount_text(whole)
        kind = "lot" if is_lot(item) else ""
        return ", ".join(each for each in (kind, text) if each)

    def _process(self, edge: TraceEdge) -> list[str]:
        fact = self._facts.by_entry.get(edge.entry)
        process = "" if fact is None else fact.event.transformation.process
        return [process] if process else []

    def _measured(self, device: str, edge: TraceEdge, fact: Fact | None) -> list[str]:
        words = [_span([fact, self._facts.by_entry.get(edge.last_entry)], "measurement")]
        if fact is not None and edge.event_count == 1:
            words = _judged(fact.event)
        else:
            words += [*_times(edge), *_bad_count(edge)]
        return [*words, f"by {device}", edge.party, day_text(edge.at_ms)]

    def _inferred(self, model: str, edge: TraceEdge, fact: Fact | None) -> list[str]:
        last = self._facts.by_entry.get(edge.last_entry)
        words = [f"model {model}", _span([fact, last], "judged"), *_times(edge)]
        if fact is not None:
            result = fact.event.inference_result
            words.append(f"policy {result.policy} {result.mode}".rstrip())
        return [*words, *_bad_count(edge), edge.party, day_text(edge.at_ms)]


def _joined(words: list[str]) -> str:
    return "  ".join(word for word in words if word)


def _report(digest: str, edge: TraceEdge, fact: Fact | None) -> list[str]:
    if fact is None:
        return [f"report {digest[:_DIGEST_DIGITS]}…", edge.party, day_text(edge.at_ms)]
    seal = fact.event.report_seal
    return [
        f"report {seal.report}",
        seal.test,
        verdict_text(seal.verdict),
        seal.laboratory,
        f"sealed {day_text(edge.at_ms)}",
    ]


def _calibration(certificate: str, edge: TraceEdge, fact: Fact | None, used_ms: int) -> list[str]:
    if fact is None:
        return [f"calibrated, certificate {certificate}", edge.party, day_text(edge.at_ms)]
    body = fact.event.calibration
    valid = f"{day_text(body.valid_from_ms)} to {day_text(body.valid_until_ms)}"
    words = [f"calibrated, valid {valid} ({certificate})", edge.party]
    if used_ms and not body.valid_from_ms <= used_ms < body.valid_until_ms:
        words.append(f"{BAD}not valid when used, {day_text(used_ms)}")
    return words


def _inspected(fact: Fact | None) -> list[str]:
    if fact is None or fact.event.WhichOneof("body") != "incoming_inspection":
        return []
    body = fact.event.incoming_inspection
    return [
        f"{body.sample_count} inspected, {body.nonconforming_count} nonconforming",
        verdict_text(body.verdict),
    ]


def _judged(event: event_pb2.Event) -> list[str]:
    """Return the words for one judgement of a measurement or model."""
    match event.WhichOneof("body"):
        case "measurement":
            body = event.measurement
            off = f" ±{body.uncertainty}" if body.uncertainty else ""
            value = f"{body.value}{off} {unit_text(body.unit)}".rstrip()
            return [f"{body.feature} {value}", verdict_text(body.verdict)]
        case "inference_result":
            result = event.inference_result
            label = result.label.partition("/")[0]
            score = f"{result.score_ppm / 1_000_000:.{_PPM_DIGITS}f}"
            return [f"{result.feature} {label} {score}".strip(), verdict_text(result.verdict)]
        case "observation_window":
            window = event.observation_window
            return [f"{window.observation_count} observations of {window.source}"]
        case body_name:
            return [(body_name or "event").replace("_", " ")]


def _review(fact: Fact) -> str:
    body = fact.event.review_verdict
    word = "confirmed" if body.verdict == _NONCONFORMING else verdict_text(body.verdict)
    return f"{word} by operator {body.operator} (entry {fact.index})"


def _span(facts: list[Fact | None], otherwise: str) -> str:
    """Return from which feature to which several events alike go."""
    features = [_feature(each.event) for each in facts if each is not None]
    named = [each for each in features if each]
    if not named:
        return otherwise
    return named[0] if len(set(named)) == 1 else f"{named[0]} to {named[-1]}"


def _feature(event: event_pb2.Event) -> str:
    return event.inference_result.feature or event.measurement.feature


def _times(edge: TraceEdge) -> list[str]:
    return [f"{edge.event_count} times"] if edge.event_count > 1 else []


def _bad_count(edge: TraceEdge) -> list[str]:
    return [f"{edge.nonconforming_count} nonconforming"] if edge.nonconforming_count else []


def _end_ms(fact: Fact) -> int:
    return fact.event.time.end_ms


def verdict_text(verdict: int) -> str:
    """Return a verdict in capitals, as documents have it."""
    try:
        name = quality_pb2.Verdict.Name(verdict)  # type: ignore[arg-type]  # a newer one raises
    except ValueError:
        return f"verdict {verdict}"
    return name.removeprefix("VERDICT_")
